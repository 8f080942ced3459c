"""Entries are read once each; one that cannot be used costs itself."""

from worker.intake.entries import Entries, Refuse
from worker.intake.refusals import Refusal, Refusals
from worker.intake.words import Unusable


class Thing:
    def __init__(self, value: int) -> None:
        self.value = value


def read(sent: Thing, refuse: Refuse) -> int:
    if sent.value < 0:
        raise Unusable("it is negative")
    if sent.value > 9:
        refuse("digit", str(sent.value), "it is large")
    return sent.value


def test_a_bad_entry_costs_itself_and_says_why():
    refused: list[Refusal] = []
    found = Entries("thing", read).take({"a": Thing(1), "b": Thing(-1), "c": Thing(10)}, refused)
    assert found == {"a": 1, "c": 10}
    assert refused == [Refusal("thing", "b", "it is negative"), Refusal("digit", "10", "it is large")]


def test_unchanged_entries_are_identical_and_refused_again():
    entries, first = Entries("thing", read), {"a": Thing(1), "b": Thing(-1)}
    values = entries.take(first, [])
    refused: list[Refusal] = []
    assert entries.take(dict(first), refused) is values
    assert [each.name for each in refused] == ["b"]
    assert entries.take({"a": Thing(2)}, []) == {"a": 2}


def test_the_second_of_two_conflicting_entries_is_left_out():
    entries = Entries("thing", read, unique=lambda value: ("value", value))
    for order in (("a", "b"), ("b", "a")):
        refused: list[Refusal] = []
        assert entries.take({name: Thing(1) for name in order}, refused) == {"a": 1}
        assert refused == [Refusal("thing", "b", "value 1 already belongs to a")]


def test_each_refusal_is_reported_once_whatever_its_next_reason(caplog):
    refusals = Refusals()
    assert refusals.note([Refusal("node", "n1", "'nonsense' is not an IPv4 address")])
    assert not refusals.note([Refusal("node", "n1", "'other nonsense' is not an IPv4 address")])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert refusals.lacks() == ("left out, as the manager's entry for it cannot be used: node n1",)
    caplog.set_level("INFO")
    assert refusals.note([])
    assert caplog.messages[-1] == "node n1 is no longer left out"
    assert refusals.lacks() == ()


def test_what_others_are_told_is_bounded_and_in_our_own_words():
    refusals = Refusals()
    refusals.note([Refusal("task", f"t{n}", "\x1b[31m") for n in range(5)] + [Refusal("node", "\x1b]0;x\x07\n", "no")])
    (said,) = refusals.lacks()
    assert said.isprintable()
    assert said.endswith("task t0, task t1 and 3 more")
