"""Text of others shows what is in it, and does not act on the terminal that shows it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text.terminal import one_line, printable, quote, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Größe 5 µs → ✓ 名前", "Größe 5 µs → ✓ 名前"),
        ("a\x1b[2Jb", "a\\u001b[2Jb"),
        ("\x07", "\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("a\rb", "a\\rb"),
        ("a\u2028b", "a\\u2028b"),
        ("a\x7f", "a\\u007f"),
    ],
)
def test_what_acts_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert one_line(text) == shown


def test_lines_and_tabs_stay_in_text_and_not_in_a_cell() -> None:
    assert visible("a\tb\nc") == "a\tb\nc"
    assert one_line("a\tb\nc") == "a\\tb\\nc"


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    def acting(shown: str) -> set[str]:
        return {c for c in shown if unicodedata.category(c) == "Cc" or unicodedata.bidirectional(c) in DIRECTING}

    assert acting(visible(text)) <= {"\n", "\t"}
    assert not acting(one_line(text))


DIRECTING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_means_the_same(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert json.loads(visible(text)) == value
    assert json.loads(one_line(text)) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text: ünïcødé, 日本語, …", "plain text: ünïcødé, 日本語, …"),
        ("a\nb\tc\r\nd\x0be", "a b c  d e"),
        ("\x1b[2J\x07\x00\x7f\x9b31m", "�[2J����31m"),
        ("txt.\u202egnp\u2066\u200f", "txt.�gnp��"),
        ("a\u00a0b\u2028c", "a b c"),
    ],
)
def test_control_and_direction_characters_are_replaced(text: str, shown: str) -> None:
    assert printable(text, 1000) == shown
    assert printable(shown, 1000) is shown


def test_what_is_too_long_is_cut() -> None:
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("x" * 11, 10) == "x" * 9 + "…"
    assert quote("a\n" * 100) == "'" + "a " * 39 + "a…'"
