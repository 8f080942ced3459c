import pytest

from common.text.quantities import format_duration, parse_cpus, parse_duration, parse_size


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


@pytest.mark.parametrize("text", ["", "10", "s", "1d", "1 s", "1s ", "soon", "9999999h", "1..5s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a valid duration$|longer than"):
        parse_duration(text)


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
