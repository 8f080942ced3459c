"""When a schedule is due: cron expressions of five fields, or of six that begin with seconds, in a time zone. Pure.

Names such as `@daily` stand for the fields that they stand for in crontab(5).

`cronsim` reads them (names, ranges, steps) and treats daylight saving as Debian's cron does: what falls into a skipped
hour is due at its end, and a fixed time in a repeated hour once. With seconds, which Debian's has not, it is due
whenever the clock shows it. Instants are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS = (5, 6)
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# Characters: all minutes, hours, days and months one by one are some 400. It is read anew for each decision.
_LONGEST = 1000
# Windows before now in which the latest due time is looked for, in seconds: so that it is found in few steps however
# dense the schedule and however long the manager was away.
_WINDOWS = (60.0, 3600.0, 86400.0, 40 * 86400.0, 400 * 86400.0)


def check(expression: str) -> str:
    """Return an expression that is right.

    Raises:
        ValueError: it is not, or is never due.

    """
    if len(expression) > _LONGEST:
        raise ValueError(f"a cron expression of at most {_LONGEST} characters")
    fields = _fields(expression)
    if fields.startswith("@"):
        raise ValueError(f"one of {', '.join(_NAMED)}, or five fields")
    if len(fields.split()) not in _FIELDS:
        raise ValueError(
            "five fields: minute, hour, day of month, month, day of week; or six, with seconds before them"
        )
    try:
        next(CronSim(fields, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        part = str(error).removeprefix("Bad ").replace("-", " ")
        raise ValueError(f"a cron expression with a valid {part}") from None
    except StopIteration:
        raise ValueError("a cron expression that is ever due") from None
    return expression


def _fields(expression: str) -> str:
    return _NAMED.get(expression.strip().lower(), expression)


def zone(name: str) -> str:
    """Return the name of a time zone that is known.

    Raises:
        ValueError: it is not.

    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # by what is wrong with the name
        raise ValueError("a time zone such as Europe/Berlin or UTC") from None
    return name


def following(expression: str, zone_name: str, instant: float) -> float:
    """Return the first due time after an instant."""
    return next(_times(expression, zone_name, instant))


def latest(expression: str, zone_name: str, after: float, now: float) -> float | None:
    """Return the last due time after one instant and not after another; None when there is none."""
    for window in (*_WINDOWS, now - after):
        begin = max(after, now - window)
        found = None
        for due in _times(expression, zone_name, begin):
            if due > now:
                break
            found = due
        if found is not None or begin == after:
            return found
    return None


def _times(expression: str, zone_name: str, after: float) -> Iterator[float]:
    """Yield the due times after an instant, each once, in order."""
    last = after
    for each in CronSim(_fields(expression), datetime.fromtimestamp(after, ZoneInfo(zone_name))):
        instant = each.timestamp()
        if instant > last:
            last = instant
            yield instant
