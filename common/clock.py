"""Time as something that is passed in, so that the same code runs in real and in virtual time.

All instants in the project are Unix seconds as `float`; all durations inside the Docker model are nanoseconds as
`int`, as the Docker API has them.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

# Nothing wakes a sleeper when the clock is set or the machine was suspended: who waits for an instant looks so often.
CLOCK_CHECK_SECONDS = 60.0

ZERO_TIME = "0001-01-01T00:00:00Z"
LAST_INSTANT = 253_402_300_799.0


class Clock(Protocol):
    def now(self) -> float:
        """Return the present instant, in Unix seconds."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()


class LoopClock:
    """The running event loop's time, shifted to an epoch: virtual when the loop's time is."""

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self._epoch = epoch

    def now(self) -> float:
        return self._epoch + asyncio.get_running_loop().time()


class SteadyClock:
    """A clock that can be told which instant has passed already, by another machine's clock, say.

    What it is then ahead of its own time it loses slowly: it neither goes back nor stands still.
    """

    _SPEED = 0.9  # while it is ahead

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = 0.0
        self._since = 0.0

    def now(self) -> float:
        now = self._clock.now()
        return now + max(0.0, self._ahead - (now - self._since) * (1 - self._SPEED))

    def not_before(self, instant: float) -> None:
        """Show this instant (Unix seconds) or a later one from now on."""
        shown = self.now()
        self._since = self._clock.now()
        self._ahead = max(shown, instant) - self._since


def boot_time() -> float:
    """Return the seconds since the machine started: no change of the clock touches them, and suspension counts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def sleep_until(instant: float, clock: Clock) -> None:
    """Sleep until the clock shows an instant (Unix seconds) or later, however it gets there."""
    while (remaining := instant - clock.now()) > 0:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(min(remaining, CLOCK_CHECK_SECONDS))


def seconds(nanoseconds: int) -> float:
    """Convert a Docker duration (nanoseconds) to seconds."""
    return nanoseconds / SECOND


def is_instant(value: float) -> bool:
    """Whether a number is an instant that can be written down: from 1970 to 9999, and not NaN."""
    return 0 <= value <= LAST_INSTANT


def rfc3339(instant: float) -> str:
    """Format Unix seconds as the Docker API writes times; 0, and what is not an instant, is Go's zero time."""
    if not instant or not is_instant(instant):
        return ZERO_TIME
    text = datetime.fromtimestamp(instant, UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def to_the_second(instant: float) -> str:
    """Format Unix seconds for people: RFC 3339 in UTC without fractions, as 2026-01-31T12:00:00Z."""
    return f"{rfc3339(instant)[:19]}Z"


def parse_rfc3339(text: str) -> float:
    """Read a time as the engine writes it (up to nanoseconds); Go's zero time is 0.

    Raises:
        ValueError: `text` is not RFC 3339.

    """
    if text.startswith("0001-01-01"):
        return 0.0
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no time zone: write it like 2026-01-31T12:00:00Z")
    return moment.timestamp()
