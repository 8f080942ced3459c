import pytest

from manager.cli.compose import ComposeError
from manager.cli.compose.dotenv import decode, parse_dotenv, parse_env_file


def test_an_env_file_takes_values_as_they_stand() -> None:
    text = '# comment\n\n  A=1\r\nB="x" # y\nC=\nD=a=b\nHERE\nNOWHERE\nE= spaced \n'
    assert parse_env_file("f", text, {"HERE": "env"}) == {
        "A": "1",
        "B": '"x" # y',
        "C": "",
        "D": "a=b",
        "HERE": "env",
        "E": " spaced ",
    }


@pytest.mark.parametrize("line", ["=x", "a b=c", "a b", "KEY = v"])
def test_a_bad_line_is_named(line: str) -> None:
    with pytest.raises(ComposeError, match=r"^e\.env:2:1: expected NAME=VALUE, got"):
        parse_env_file("e.env", f"OK=1\n{line}\n", {})


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain text", "plain text"),
        ("export A=1", "1"),
        ("A = spaced ", "spaced"),
        ("A=value # comment", "value"),
        ("A=value#kept", "value#kept"),
        ("A=# comment", ""),
        ('A="two # words" # comment', "two # words"),
        ("A='as \\n it $stands'", "as \\n it $stands"),
        ('A="tab\\tquote\\"line\\nback\\\\"', 'tab\tquote"line\nback\\'),
        ("A=", ""),
    ],
)
def test_a_dotenv_knows_quotes_and_comments(line: str, value: str) -> None:
    assert parse_dotenv("f", f"# first\n{line}\n", {}) == ({"A": value}, ())


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("B=${A}", "env"),
        ("B=$A/y", "env/y"),
        ("B=${X:-d}", "d"),
        ('B="${A} x"', "env x"),
        ("B='${A}'", "${A}"),
        ('B="\\$A"', "$A"),
        ("B=a$$b", "a$b"),
        ("B=${C}", "file"),
        ("B=a$2y$05", "a$2y$05"),
        ("B=a$", "a$"),
    ],
)
def test_a_dotenv_refers_to_the_environment_and_earlier_lines(line: str, value: str) -> None:
    text = f"A=file\nC=file\n{line}\n"
    assert parse_dotenv("f", text, {"A": "env"}) == ({"A": "file", "C": "file", "B": value}, ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"-----BEGIN\nline two \nEND" # a key', "-----BEGIN\nline two \nEND"),
        ("'one\r\n# no comment\nB=$A'", "one\n# no comment\nB=$A"),
        ('"a \\"quoted\\"\nword"', 'a "quoted"\nword'),
    ],
)
def test_a_quoted_value_of_a_dotenv_may_have_several_lines(value: str, expected: str) -> None:
    assert parse_dotenv("f", f"A={value}\nB=2\n", {}) == ({"A": expected, "B": "2"}, ())


def test_unset_variables_in_a_dotenv_are_reported() -> None:
    assert parse_dotenv("f", "A=$X${Y:-1}\nB=$X\nC='$Z'\n", {}) == ({"A": "1", "B": "", "C": "$Z"}, ("X",))


@pytest.mark.parametrize("line", ["1A=x", "a b", 'A="open', "A='x' y"])
def test_a_bad_line_of_a_dotenv_is_named(line: str) -> None:
    with pytest.raises(ComposeError, match=r"^\.env:1:1: "):
        parse_dotenv(".env", line, {})


def test_text_is_utf_8_with_or_without_a_mark() -> None:
    assert decode("f", b"\xef\xbb\xbfA=\xc3\xbc") == "A=ü"
    with pytest.raises(ComposeError, match=r"^f:2:1: is not UTF-8 text"):
        decode("f", b"a\n\xff")


def test_a_name_alone_takes_its_value_from_the_environment() -> None:
    assert parse_dotenv("f", "A\nB\n", {"A": "1"}) == ({"A": "1"}, ())
