"""What is remembered of what was not believed."""

from manager.domain.refusals import Refusal, Refusals, Refused

A, B = Refusal("X.a", "one"), Refusal("X.b", "two")


def test_fields_are_counted_and_the_first_of_each_is_news() -> None:
    refusals = Refusals()
    assert refusals.add("n1", [A, B, A], 5.0) == [A, B]
    assert refusals.add("n1", [Refusal("X.a", "three")], 6.0) == []
    assert refusals.add("n2", [A], 7.0) == [A]
    assert refusals.of("n1") == [Refused("X.a", "three", 3, 6.0), Refused("X.b", "two", 1, 5.0)]
    assert refusals.of("n3") == []


def test_a_corrected_refusal_is_forgotten_and_not_logged_again() -> None:
    refusals = Refusals()
    refusals.add("n1", [A, B], 5.0)
    refusals.keep("n1", {"X.a", "X.b"}, [B])
    assert [each.field for each in refusals.of("n1")] == ["X.b"]
    refusals.keep("n1", {"Y.c"}, [])
    assert [each.field for each in refusals.of("n1")] == ["X.b"]
    assert refusals.add("n1", [A], 6.0) == []
    assert refusals.of("n1")[0].count == 1


def test_of_a_node_that_is_gone_nothing_is_kept() -> None:
    refusals = Refusals()
    refusals.add("n1", [A], 5.0)
    refusals.forget("n1")
    refusals.forget("n2")
    assert refusals.of("n1") == []
    assert refusals.add("n1", [A], 6.0) == [A]
