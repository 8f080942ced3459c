"""Durations, sizes and CPUs in the words of Docker's command line, and durations as labels have them. Pure.

Read as it reads them (Go's `time.ParseDuration`, `units.RAMInBytes`), and written for people as it writes them
(github.com/docker/go-units). Labels have whole seconds, minutes and hours: `90s`, `10m`, `1h30m`.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation, Overflow
from functools import lru_cache

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
}
_PART = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_DURATION = re.compile(
    rf"(?P<sign>[-+]?)(?P<parts>(?:{_PART.pattern.replace('?P<number>', '?:').replace('?P<unit>', '?:')})+|0)"
)
_LABEL_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_SIZE = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+) ?(?P<unit>[kKmMgGtTpP]?)(?:[iI]?[bB])?")
_MAX_INT64 = 2**63 - 1
# What one core is in the API, in which CPUs are counted as `NanoCPUs`.
NANO_CPUS = 1_000_000_000
_SECOND = 1_000_000_000
# Of the text of an amount, in characters: what is longer is not read, as that takes the square of its length.
_LONGEST = 100

_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY_HOURS = 24
_WEEK_HOURS = 7 * _DAY_HOURS
_MONTH_HOURS = 30 * _DAY_HOURS
_YEAR_HOURS = 365 * _DAY_HOURS
# Below this many hours a duration is told in the smaller unit; its last one is for everything longer.
_LONG_UNITS = (
    (2 * _DAY_HOURS, 1, "hours"),
    (2 * _WEEK_HOURS, _DAY_HOURS, "days"),
    (2 * _MONTH_HOURS, _WEEK_HOURS, "weeks"),
    (2 * _YEAR_HOURS, _MONTH_HOURS, "months"),
)


def parse_duration(text: str) -> int:
    """Read `1h2m3.5s` as nanoseconds. Raises ValueError."""
    match = _DURATION.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        hint = f": give its unit, as in {text}s" if text.isdecimal() and len(text) <= _LONGEST else ""
        raise ValueError(f"{text[:_LONGEST]!r} is not a valid duration{hint}")
    parts = _PART.finditer(match["parts"])
    total = sum(int(Decimal(part["number"]) * _UNITS[part["unit"]]) for part in parts)
    if total > _MAX_INT64:
        raise ValueError(f"{text!r} is longer than 290 years")
    return -total if match["sign"] == "-" else total


def format_duration(nanoseconds: int) -> str:
    """Write a duration as Go does: `1m30s`, `1.5s`, `100ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < _SECOND:
        unit, size = next((u, s) for u, s in (("ms", 10**6), ("\u00b5s", 10**3), ("ns", 1)) if rest >= s)
        return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, below = divmod(rest, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(below, _SECOND)}s"


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    if not fraction:
        return str(whole)
    digits = str(fraction).rjust(len(str(size)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"


def parse_label_duration(text: str) -> float:
    """Read a label's hours, minutes and seconds (`1h30m`); return seconds.

    Raises:
        ValueError: it is not a duration, or 0; says what is expected.

    """
    match = _LABEL_DURATION.fullmatch(text)
    hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    seconds = hours * 3600 + minutes * 60 + rest
    if not seconds:
        raise ValueError("a duration above 0, such as 90s, 10m or 1h30m")
    return float(seconds)


def format_label_duration(seconds: float) -> str:
    """Write whole seconds as `parse_label_duration` reads them: `1h30m`, `45s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{value}{unit}" for value, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if value) or "0s"


def parse_size(text: str) -> int:
    """Read `50M`, `1.5gb` or `512` as bytes, in powers of 1024. Raises ValueError."""
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{text[:_LONGEST]!r} is not a valid size")
    size = int(Decimal(match["number"]) * 1024 ** " kmgtp".index(match["unit"].lower() or " "))
    if size > _MAX_INT64:
        raise ValueError(f"{text!r} is too large")
    return size


def parse_rate(text: str) -> int:
    """Read `50MB/s`, or `none`, as bytes a second, 0: no limit. Raises ValueError."""
    if text == "none":
        return 0
    try:
        return parse_size(text.removesuffix("/s"))
    except ValueError:
        raise ValueError(f"{text[:_LONGEST]!r} is not a valid rate: write it like 50MB/s, or none") from None


def parse_cpus(text: str) -> int:
    """Read a number of CPUs as billionths of one. Raises ValueError."""
    try:
        value = Decimal(text if len(text) <= _LONGEST else "") * NANO_CPUS
    except (InvalidOperation, Overflow):
        raise ValueError(f"{text[:_LONGEST]!r} is not a valid number of CPUs") from None
    if not value.is_finite() or not 0 <= value <= _MAX_INT64 or value != value.to_integral_value():
        raise ValueError(f"{text!r} is not a valid number of CPUs (at most nine decimals)")
    return int(value)


# --- for people ---


def human_duration(seconds: float) -> str:
    """Tell a duration roughly: `Less than a second`, `4 minutes`, `About an hour`, `3 weeks`."""
    if seconds < 1:
        return "Less than a second"
    if seconds < _MINUTE:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    if seconds < _HOUR:
        minutes = int(seconds // _MINUTE)
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / _HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, size, unit in _LONG_UNITS:
        if hours < limit:
            return f"{hours // size} {unit}"
    return f"{int(seconds / _HOUR / _YEAR_HOURS)} years"


@lru_cache(256)  # why a task waits says one size of each of 1,000 nodes
def human_size(size: float) -> str:
    """Write bytes with four significant digits in powers of 1024: `23.54GiB`, `20MiB`, `512B`."""
    power = 0
    while size >= 1024 and power < len(_SIZE_UNITS) - 1:
        size /= 1024
        power += 1
    return f"{size:.4g}{_SIZE_UNITS[power]}"


def human_decimal(size: float, digits: int = 3) -> str:
    """Write bytes with so many significant digits in powers of 1000, as images' sizes are shown: `22MB`, `1.5GB`."""
    power = 0
    while size >= 1000 and power < len(_DECIMAL_UNITS) - 1:
        size /= 1000
        power += 1
    return f"{size:.{digits}g}{_DECIMAL_UNITS[power]}"
