import time
from collections.abc import Callable

import pytest

from common.text.quantities import (
    format_duration,
    format_label_duration,
    human_duration,
    human_size,
    parse_cpus,
    parse_duration,
    parse_label_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds", "canonical"),
    [
        ("0", 0, "0s"),
        ("1s", 10**9, "1s"),
        ("90s", 90 * 10**9, "1m30s"),
        ("1.5h", 5400 * 10**9, "1h30m0s"),
        ("1h0m0.5s", 3600_500_000_000, "1h0m0.5s"),
        ("1500ms", 1_500_000_000, "1.5s"),
        ("250ms", 250_000_000, "250ms"),
        ("100us", 100_000, "100\u00b5s"),
        ("1.5\u00b5s", 1_500, "1.5\u00b5s"),
        ("17ns", 17, "17ns"),
        ("-1m", -60 * 10**9, "-1m0s"),
        (".5s", 500_000_000, "500ms"),
    ],
)
def test_durations(text: str, nanoseconds: int, canonical: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert format_duration(nanoseconds) == canonical


@pytest.mark.parametrize("text", ["", "s", "1d", "1 s", "1s ", "soon", "9999999h", "1..5s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a valid duration$|longer than"):
        parse_duration(text)


def test_a_duration_without_a_unit_is_told_how_to_write_one() -> None:
    with pytest.raises(ValueError, match=r"^'10' is not a valid duration: give its unit, as in 10s$"):
        parse_duration("10")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("10b", 10), ("1k", 1024), ("50M", 50 * 2**20), ("1.5GiB", 3 * 2**29), ("64 MB", 2**26), ("2T", 2**41)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1X", "5 bananas", "1  M", "9999999P"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a valid size$|is too large$"):
        parse_size(text)


@pytest.mark.parametrize(("text", "nano"), [("0.1", 10**8), ("1.50", 15 * 10**8), ("2", 2 * 10**9), ("0.000000001", 1)])
def test_cpus(text: str, nano: int) -> None:
    assert parse_cpus(text) == nano


@pytest.mark.parametrize("text", ["", "lots", "-1", "NaN", "Infinity", "0.0000000001"])
def test_what_is_no_number_of_cpus(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid number of CPUs"):
        parse_cpus(text)


MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (MINUTE, "About a minute"),
        (2 * MINUTE - 1, "About a minute"),
        (4 * MINUTE, "4 minutes"),
        (HOUR - 1, "59 minutes"),
        (HOUR, "About an hour"),
        (1.4 * HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_durations_are_told_as_docker_tells_them(seconds: float, text: str):
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (512, "512B"), (1024, "1KiB"), (20 << 20, "20MiB"), (25_275_883_520, "23.54GiB"), (3 << 40, "3TiB")],
)
def test_sizes_have_four_digits(size: int, text: str):
    assert human_size(size) == text


# --- durations of labels ---


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("1h0m5s", 3605.0), ("0h1s", 1.0)]
)
def test_durations_of_labels_are_read(text: str, seconds: float) -> None:
    assert parse_label_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "10", "1s1m", "-1s", "1.5h", "1d", "٣s", "1234567s", " 1s", "1s\n"])
def test_what_is_not_a_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 10m or 1h30m"):
        parse_label_duration(text)


@pytest.mark.parametrize("seconds", [1, 45, 60, 3599, 3600, 5400, 86_400])
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert parse_label_duration(format_label_duration(seconds)) == seconds


def test_no_time_is_written_too() -> None:
    assert format_label_duration(0) == "0s"
    assert format_label_duration(5400.9) == "1h30m"


@pytest.mark.parametrize("read", [parse_duration, parse_size, parse_rate, parse_cpus])
@pytest.mark.parametrize("text", ["9" * 100_000, "9" * 100_000 + "x", "1h" * 100_000, "1e999999", "1e99999"])
def test_long_and_huge_texts_are_refused_at_once(read: Callable[[str], int], text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="not a valid") as raised:
        read(text)
    assert time.process_time() - began < 0.1
    assert len(str(raised.value)) < 200
