"""Durations as labels have them: `90s`, `10m`, `1h30m`. Pure."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)


def parse(text: str) -> float:
    """Read hours, minutes and seconds, and return seconds.

    Raises:
        ValueError: it is none, or 0; says what is expected.

    """
    match = _DURATION.fullmatch(text)
    hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    seconds = hours * 3600 + minutes * 60 + rest
    if not seconds:
        raise ValueError("a duration above 0, such as 90s, 10m or 1h30m")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """Write whole seconds as `parse` reads them: `1h30m`, `45s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{value}{unit}" for value, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if value) or "0s"
