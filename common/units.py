"""Durations and sizes as people read them, in the Docker command line's words (github.com/docker/go-units)."""

from __future__ import annotations

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


def human_size(size: float) -> str:
    """Write bytes with four significant digits in powers of 1024: `23.54GiB`, `20MiB`, `512B`."""
    power = 0
    while size >= 1024 and power < len(_SIZE_UNITS) - 1:
        size /= 1024
        power += 1
    return f"{size:.4g}{_SIZE_UNITS[power]}"


def human_decimal(size: float) -> str:
    """Write bytes with three significant digits in powers of 1000, as images' sizes are shown: `22MB`, `1.5GB`."""
    power = 0
    while size >= 1000 and power < len(_DECIMAL_UNITS) - 1:
        size /= 1000
        power += 1
    return f"{size:.3g}{_DECIMAL_UNITS[power]}"
