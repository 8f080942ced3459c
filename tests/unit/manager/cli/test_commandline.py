"""How command strings are split. Each expectation was read off `docker stack config`."""

import pytest

from manager.cli.commandline import split_command


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  a\tb\nc ", ["a", "b", "c"]),
        ("sh -c 'a b'", ["sh", "-c", "a b"]),
        ("a#b '# c' # d", ["a#b", "# c"]),
        ("a\n#c\nb", ["a", "b"]),
        ('"a\\"b" c\\ d', ['a"b', "c d"]),
        ('"a\\b"', ["ab"]),
        ("'a\\b'", ["a\\b"]),
        ('a "" b', ["a", "", "b"]),
        ("a'b c'd\"e f\"", ["ab cde f"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_command(text) == words


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", '"a\\'])
def test_what_is_left_open(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not closed$|^a backslash ends it$"):
        split_command(text)
