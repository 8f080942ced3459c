"""What cannot be used is said once, and told to others in none of its own words."""

import logging

import pytest

from worker.intake.refusals import Refusal, Refusals


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
