"""Entries are read once each; one that cannot be used costs itself."""

import logging

import pytest

from worker.intake.entries import Entries, Refusal, Refusals, Refuse
from worker.intake.identifiers import Unusable


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


def test_a_refusal_is_logged_when_it_is_new_and_when_it_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    with caplog.at_level(logging.INFO):
        assert refusals.note([Refusal("task", "t1", "it has no name")])
        assert not refusals.note([Refusal("task", "t1", "it has another fault")]), "who sends nonsense fills no log"
        assert refusals.note([])
    assert caplog.messages == ["task t1 is left out: it has no name", "task t1 is no longer left out"]


def test_others_are_told_of_the_first_three() -> None:
    refusals = Refusals()
    assert refusals.lacks() == ()
    refusals.note(Refusal("task", f"t{number}", "x") for number in range(5))
    (text,) = refusals.lacks()
    assert text.endswith("task t0, task t1, task t2 and 2 more")


def test_a_name_that_is_no_id_is_quoted() -> None:
    assert Refusal("task", "a\x1b[2Jb", "x").what != "task a\x1b[2Jb"
    assert "\x1b" not in Refusal("task", "a\x1b[2Jb", "x").what
