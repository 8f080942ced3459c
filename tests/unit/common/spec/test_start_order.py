import sys
from collections.abc import Callable

from common.spec.start_order import Graph, any_cycle, cycle, in_order


def test_a_cycle_is_found_from_wherever_it_is_reached() -> None:
    graph = {"web": ["api"], "api": ["db"], "db": ["cache"], "cache": ["api"]}
    assert cycle(graph.__getitem__, "web") == ("api", "db", "cache", "api")
    assert cycle({"a": ["a"]}.__getitem__, "a") == ("a", "a")
    assert cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}.__getitem__, "a") == ()


def test_order_is_by_dependency_then_by_name() -> None:
    assert in_order({"web": ["db"], "db": [], "app": ["web", "elsewhere"], "a": []}) == ["a", "db", "web", "app"]


def test_a_chain_costs_what_it_is_long() -> None:
    """Whoever deploys a stack may make one of thousands."""

    def chain(length: int) -> Graph:
        return {f"s{number:05}": [f"s{number + 1:05}"] for number in range(length)}

    for find in (any_cycle, in_order, lambda graph: cycle(lambda name: graph.get(name, ()), "s00000")):
        short, long = (_lines_run(find, chain(length)) for length in (500, 2000))
        assert long < 5 * short


def _lines_run(function: Callable[[Graph], object], graph: Graph) -> int:
    """Count the lines that a call executes."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        function(graph)
    finally:
        sys.settrace(before)
    return count
