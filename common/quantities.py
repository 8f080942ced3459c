"""Durations, sizes and CPUs as Docker's command line reads them (Go's `time.ParseDuration`, `units.RAMInBytes`)."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

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
_SIZE = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+) ?(?P<unit>[kKmMgGtTpP]?)(?:[iI]?[bB])?")
_MAX_INT64 = 2**63 - 1
_NANO = 1_000_000_000


def parse_duration(text: str) -> int:
    """Read `1h2m3.5s` as nanoseconds. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration")
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
    if rest < _NANO:
        unit, size = next((u, s) for u, s in (("ms", 10**6), ("\u00b5s", 10**3), ("ns", 1)) if rest >= s)
        return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, below = divmod(rest, 60 * _NANO)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(below, _NANO)}s"


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    if not fraction:
        return str(whole)
    digits = str(fraction).rjust(len(str(size)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"


def parse_size(text: str) -> int:
    """Read `50M`, `1.5gb` or `512` as bytes, in powers of 1024. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size")
    size = int(Decimal(match["number"]) * 1024 ** " kmgtp".index(match["unit"].lower() or " "))
    if size > _MAX_INT64:
        raise ValueError(f"{text!r} is too large")
    return size


def parse_cpus(text: str) -> int:
    """Read a number of CPUs as billionths of one. Raises ValueError."""
    try:
        value = Decimal(text) * _NANO
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number of CPUs") from None
    if not value.is_finite() or value != value.to_integral_value() or value < 0:
        raise ValueError(f"{text!r} is no number of CPUs (at most nine decimals)")
    return int(value)
