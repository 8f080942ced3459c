from common.spec.start_order import cycle, in_order


def test_a_cycle_is_found_from_wherever_it_is_reached() -> None:
    graph = {"web": ["api"], "api": ["db"], "db": ["cache"], "cache": ["api"]}
    assert cycle(graph, "web") == ("api", "db", "cache", "api")
    assert cycle({"a": ["a"]}, "a") == ("a", "a")
    assert cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"]}, "a") == ()


def test_order_is_by_dependency_then_by_name() -> None:
    assert in_order({"web": ["db"], "db": [], "app": ["web", "elsewhere"], "a": []}) == ["a", "db", "web", "app"]
