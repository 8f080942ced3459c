"""A warning fits in a header, whatever its text."""

import pytest

from manager.api.http.warnings import warning


def test_nothing_to_tell_is_no_header() -> None:
    assert warning("") == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a  b\n c", "a b c"),
        ('say "x"', "say 'x'"),
        ("wait…", "wait..."),
        ("é\\\r\nX: y", "?? X: y"),
    ],
)
def test_a_text_is_one_quoted_line_of_ascii(text: str, shown: str) -> None:
    assert warning(text) == {"Warning": f'199 swarm-manager "{shown}"'}


def test_a_long_text_is_cut() -> None:
    (header,) = warning("x" * 10_000).values()
    assert len(header) < 4200
    assert header.endswith('x ..."')
