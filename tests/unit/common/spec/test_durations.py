"""Durations in labels are read and written in hours, minutes and seconds."""

import pytest

from common.spec.durations import format_duration, parse


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("1h0m5s", 3605.0), ("0h1s", 1.0)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "10", "1s1m", "-1s", "1.5h", "1d", "٣s", "1234567s", " 1s", "1s\n"])
def test_what_is_not_a_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 10m or 1h30m"):
        parse(text)


@pytest.mark.parametrize("seconds", [1, 45, 60, 3599, 3600, 5400, 86_400])
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert parse(format_duration(seconds)) == seconds


def test_no_time_is_written_too() -> None:
    assert format_duration(0) == "0s"
    assert format_duration(5400.9) == "1h30m"
