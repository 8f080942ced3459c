"""Which texts, words and numbers of a worker are believed."""

import math
from typing import Any

import pytest

from manager.dispatch.intake.form import Implausible, MessageContext, Rule
from manager.dispatch.intake.scalars import (
    IMAGE_ID,
    IMAGE_NAME,
    NOTHING,
    amount,
    choice,
    label_problem,
    labels,
    several,
    text,
    whole,
    word,
)
from manager.store.tables import Tables


def context() -> MessageContext:
    return MessageContext(Tables(), 0.0)


def taken(rule: Rule, value: Any, heard: MessageContext | None = None) -> Any:
    return rule.take(value, heard or context())


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (word(5), "abc"),
        (word(5), ""),
        (choice("", "local"), "local"),
        (whole(0, 9), 9),
        (amount(9.0, "x"), None),
        (amount(9.0, "x"), 9.0),
        (NOTHING, ""),
        (IMAGE_ID, "sha256:" + "a" * 64),
        (IMAGE_ID, ""),
        (IMAGE_NAME, "registry.example:5000/a/b:1.0"),
    ],
)
def test_what_holds_is_taken_as_it_is(rule: Rule, value: object) -> None:
    assert taken(rule, value) == value


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (word(5), "abcdef"),
        (word(5), "a b"),
        (word(5), "a\x1b"),
        (choice("local"), "global"),
        (whole(0, 9), 10),
        (whole(0, 9), -1),
        (amount(9.0, "x"), math.nan),
        (amount(9.0, "x"), math.inf),
        (amount(9.0, "x", least=1.0), 0.5),
        (NOTHING, "x"),
        (IMAGE_ID, "web:1"),
        (IMAGE_NAME, "../web"),
        (IMAGE_NAME, "a" * 513),
    ],
)
def test_what_does_not_hold_is_implausible(rule: Rule, value: object) -> None:
    with pytest.raises(Implausible):
        taken(rule, value)


def test_a_sentence_is_cut_and_made_printable_and_never_refused() -> None:
    assert taken(text(5), "abcdefgh").startswith("abcd")
    assert len(taken(text(5), "abcdefgh")) <= 5
    assert "\x1b" not in taken(text(50), "a\x1b[2Jb")


def test_of_several_values_those_that_hold_are_kept() -> None:
    heard = context()
    assert taken(several(word(3), 5, "words"), ("a", "toolong", "b"), heard) == ("a", "b")
    assert len(heard.refusals) == 1


def test_of_too_many_labels_the_first_are_kept() -> None:
    heard = context()
    assert taken(labels(2, 10), {"a": "1", "b": "2", "c": "3"}, heard) == {"a": "1", "b": "2"}
    assert taken(labels(2, 10), {"": "1", "b": "2"}, heard) == {"b": "2"}


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("a b", "x"), ("a", "\n"), ("a", "x" * 20)])
def test_a_label_that_cannot_be_shown_has_a_problem(name: str, value: str) -> None:
    assert label_problem(name, value, 10)
    assert not label_problem("a", "b", 10)
