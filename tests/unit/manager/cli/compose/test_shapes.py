"""Values that hold scalars: what each form becomes, and how two files' merge."""

import time
from typing import Any

import pytest

from manager.cli.compose.rules import Cursor, Report, Rule
from manager.cli.compose.shapes import Command, HealthTest, HostPairs, Items, Options, Pairs
from manager.cli.compose.yaml_loader import Document


def read(rule: Rule, value: Any) -> tuple[Any, list[str]]:
    report = Report(Document("compose.yaml", {}, {}), 13)
    found = rule.read(value, Cursor(report))
    return found, [problem.message for problem in report.problems]


@pytest.mark.parametrize(
    ("rule", "value", "found"),
    [
        (Items(), ["a", "b"], ["a", "b"]),
        (Items(single=True), "a", ["a"]),
        (Items(numbers=True), [80, "a"], ["80", "a"]),
        (Command(), "echo 'a b'", ["echo", "a b"]),
        (Command(), ["echo", "a b"], ["echo", "a b"]),
        (HealthTest(), "curl x", ["CMD-SHELL", "curl x"]),
        (HealthTest(), ["CMD", "true"], ["CMD", "true"]),
        (Pairs(), ["B=2", "A=1", "C"], {"A": "1", "B": "2", "C": ""}),
        (Pairs(), {"A": 1, "B": None}, {"A": "1", "B": ""}),
        (Pairs(unset=True), ["A", "B="], {"A": None, "B": ""}),
        (HostPairs(), {"b": "10.0.0.1", "a": "10.0.0.2"}, ["a:10.0.0.2", "b:10.0.0.1"]),
        (Options(), {"size": 3}, {"size": "3"}),
    ],
)
def test_each_form_has_one_normal_form(rule: Rule, value: Any, found: Any) -> None:
    assert read(rule, value) == (found, [])


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        (HostPairs(), [None, "a:10.0.0.1"], "expected a string"),
        (HostPairs(), {"a": False}, "put it in quotes"),
        (Items(), "a", "expected a list"),
        (Items(), ["a", "a"], "given twice in the list; first as item 0"),
        (Command(), "echo 'a", "is not a command line"),
        (Command(), 3, "expected a string or a list of strings"),
        (Pairs(), {"A": True}, "put it in quotes"),
        (Pairs(), 3, "expected a mapping, or a list of NAME=value"),
        (Options(), {"a": None}, "expected a string or a number"),
    ],
)
def test_what_is_wrong_is_reported_in_words(rule: Rule, value: Any, words: str) -> None:
    _, problems = read(rule, value)
    assert len(problems) == 1
    assert words in problems[0]


def test_lists_are_appended_and_what_stands_once_stays_first() -> None:
    assert Items().merge(["a", "b"], ["b", "c"]) == ["a", "b", "c"]
    assert Items(unique=False).merge(["a"], ["a"]) == ["a", "a"]


def test_a_variable_that_an_override_leaves_unset_stays() -> None:
    assert Pairs(unset=True).merge({"A": "1"}, {"A": None, "B": None}) == {"A": "1", "B": None}
    assert Pairs().merge({"A": "1"}, {"A": ""}) == {"A": ""}


def test_long_lists_are_read_and_merged_at_once() -> None:
    """A list of 90,000 variables, each compared with all before it, took minutes."""
    texts = [f"A{number}=x" for number in range(30_000)]
    began = time.process_time()
    assert read(Items(), [*texts, "A7=x"])[1] == ["given twice in the list; first as item 7"]
    assert Items().merge(texts, [*texts, "B=y"]) == [*texts, "B=y"]
    assert time.process_time() - began < 2


def test_a_boolean_is_not_the_number_that_it_equals() -> None:
    merged = Items().merge([1, {"a": 1}, ["x"]], [True, {"a": True}, {"a": 1}, ["x"]])
    assert list(map(repr, merged)) == ["1", "{'a': 1}", "['x']", "True", "{'a': True}"]
