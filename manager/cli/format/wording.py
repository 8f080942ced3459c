"""Small pieces of text that several tables share: short ids, times ago, natural order."""

from __future__ import annotations

import re
from collections.abc import Mapping

from common.text.quantities import human_duration

_SHORT = 12
_DIGITS = re.compile(r"(\d+)")


def short_id(text: str) -> str:
    return text[:_SHORT]


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that counts digits as numbers: `web.2` before `web.10`."""
    parts = _DIGITS.split(text)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def ago(instant: float, now: float) -> str:
    """Tell how long ago an instant (Unix seconds) was: `4 minutes ago`."""
    return f"{human_duration(now - instant)} ago"


def capitalize(text: str) -> str:
    """Write a state as tables do: `running` → `Running`."""
    return text[:1].upper() + text[1:].lower()


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def pairs(mapping: Mapping[str, str] | None) -> str:
    """Write labels in one cell: `a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted((mapping or {}).items()))


def go_time(text: str) -> str:
    """Write the API's time as Go prints one: `2026-11-24T13:08:35.970Z` → `2026-11-24 13:08:35.97 +0000 UTC`."""
    moment, zone = (text[:-1], "+0000 UTC") if text.endswith("Z") else (text[:-6], text[-6:].replace(":", ""))
    date, _, clock = moment.partition("T")
    if "." in clock:
        clock = clock.rstrip("0").rstrip(".")
    return f"{date} {clock} {zone}"
