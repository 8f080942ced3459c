"""How far a worker's clock is off the manager's: when that is news, and how it is said. Pure.

A worker says what its clock shows each time that it measures its host. What it says decides nothing: it is told to
people. One that lies shows a wrong number of its own node, and changes the record of it no more often than honest ones
may: every `LEAST_SAMPLES` samples.
"""

from __future__ import annotations

import statistics
from collections import deque

from common.model import Node
from common.text.quantities import human_duration
from common.wire.handshake import WRONG_CLOCK_SECONDS

# A clock that was wrong is right again below so many seconds.
RIGHT_SECONDS = 10.0
# So many samples in a row must agree, at least so many seconds apart: what was under way longer, as a manager or a
# worker stood still, is a sample that is late, not a clock that is slow.
LEAST_SAMPLES = 3
APART_SECONDS = 5.0
# The number of a wrong clock is stored anew when it has changed by this share, and by `WRONG_CLOCK_SECONDS`.
_NEWS = 0.1


class ClockWatch:
    """Watches one worker's clock in a session. `stored` is what its node's record has, 0 for a right clock."""

    def __init__(self, stored: int = 0) -> None:
        self._stored = stored
        self._samples: deque[float] = deque(maxlen=LEAST_SAMPLES)
        self._at = float("-inf")

    def sample(self, offset: float, at: float) -> int | None:
        """Take how far the clock was ahead (seconds), `at` an instant of the loop; return what to store, None: nothing.

        0 says that the clock is right again.
        """
        if at - self._at < APART_SECONDS:
            return None
        self._at = at
        self._samples.append(offset)
        if len(self._samples) < LEAST_SAMPLES:
            return None
        found = self._judge()
        if found is None or found == self._stored:
            return None
        self._stored = found
        self._samples.clear()
        return found

    def _judge(self) -> int | None:
        sizes = [abs(each) for each in self._samples]
        middle = statistics.median(self._samples)
        if self._stored and max(sizes) < RIGHT_SECONDS:
            return 0
        if min(sizes) < WRONG_CLOCK_SECONDS:
            return None
        change = abs(middle - self._stored)
        return round(middle) if change >= max(WRONG_CLOCK_SECONDS, _NEWS * abs(self._stored)) else None


def clock_words(seconds: float) -> str:
    """Say how far a clock is off, as in "is 12 minutes behind the manager's"."""
    length = human_duration(abs(seconds))
    way = "ahead of" if seconds > 0 else "behind"
    return f"is {length[0].lower()}{length[1:]} {way} the manager's"


def clock_sentence(seconds: float) -> str:
    """Say that a node's clock is wrong, and what to do."""
    return f"its clock {clock_words(seconds)}: set the wrong one, for example with NTP"


def status_message(node: Node) -> str:
    """Return what there is to say of a node's state; of one that is ready, that its clock is wrong."""
    status, offset = node.status, node.clock_offset
    if status.message or offset is None or status.state != "ready":
        return status.message
    return clock_sentence(offset.seconds)
