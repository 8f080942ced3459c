"""Text that shows what is in it and does nothing."""

import pytest

from common.text.terminal import printable, quote


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
