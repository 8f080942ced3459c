"""What unquoted scalars mean. Each expectation was read off `docker stack config`."""

import math

import pytest

from manager.cli.compose.scalars import BareWord, boolean, plain, text_of


@pytest.mark.parametrize(
    ("text", "as_written"),
    [
        ("1e3", "1000"),
        ("1.e3", "1000"),
        (".5", "0.5"),
        (".5e3", "500"),
        ("-0x1f", "-31"),
        ("0b11", "3"),
        ("0o17", "15"),
        ("0O17", "15"),
        ("017", "15"),
        ("-017", "-15"),
        ("08", "8"),
        ("1__0", "10"),
        ("_1", "_1"),
        ("1_", "1"),
        ("0x_1", "1"),
        ("+12", "12"),
        ("1e400", "1e400"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("1.0", "1"),
        ("1.50", "1.5"),
        ("1e20", "1e+20"),
        ("1e6", "1e+06"),
        ("999999.5", "999999.5"),
        ("1234567.5", "1.2345675e+06"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("123456789.5", "1.234567895e+08"),
        ("2001-01-01", "2001-01-01"),
        ("190:20:30", "190:20:30"),
        ("1.", "1"),
        ("-", "-"),
        ("+", "+"),
        (".", "."),
        (".e1", ".e1"),
        ("0o8", "0o8"),
        ("0x", "0x"),
        ("1e", "1e"),
        ("1_000.5", "1000.5"),
        ("0x1p4", "0x1p4"),
        ("tRUE", "tRUE"),
        ("nan", "nan"),
        ("Infinity", "Infinity"),
        ("-0", "0"),
        ("=", "="),
    ],
)
def test_a_scalar_becomes_the_text_that_docker_makes_of_it(text: str, as_written: str) -> None:
    assert text_of(plain(text)) == as_written


@pytest.mark.parametrize("text", ["~", "null", "Null", "NULL", ""])
def test_nothing_is_none(text: str) -> None:
    assert plain(text) is None


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("TRUE", True)])
def test_true_and_false_are_booleans(text: str, value: bool) -> None:
    assert plain(text) is value


@pytest.mark.parametrize("text", ["yes", "No", "on", "OFF", "y", "N"])
def test_the_other_words_stay_words_and_are_booleans_on_demand(text: str) -> None:
    value = plain(text)
    assert isinstance(value, BareWord)
    assert value == text
    assert boolean(value) is (text.lower() in ("yes", "on", "y"))


def test_non_finite_numbers_are_read_and_refused_by_the_loader() -> None:
    assert plain(".inf") == math.inf
    assert plain("-.Inf") == -math.inf
    assert boolean("maybe") is None
