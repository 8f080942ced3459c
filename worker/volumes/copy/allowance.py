"""What a sender may send to a receiver: what its own announcements explain, each thing once a pass. Pure.

Else one that sends valid bytes for ever would keep a copy, and its place among those that are under way, until the
target's disk is full.
"""

from __future__ import annotations

from common.errors import ProtocolError, ResourceExhausted
from common.text.quantities import human_size
from worker.volumes.copy.entries import GIB, show

# A volume grows while it is read, and where a file system compresses, what a file takes is less than what it has.
FACTOR = 16
SLACK = GIB
# A sender makes five, the leader asks for 20 at most, and each pause that was too short is one more.
MOST_PASSES = 64


class Allowance:
    """One session's. `spent`: bytes of content that have come in this pass.

    A pass tells of each path once, in the order of a walk; before it has something new, what was there may be removed.
    """

    def __init__(self) -> None:
        self.spent = 0
        self._passes = 0
        self._known = 0
        self._last: bytes | None = None
        self._removed = False

    def has(self, size: int) -> None:
        """Count what the target has when the session begins: a pass may bring all of it anew."""
        self._known += size

    def begin(self, number: int, room: int) -> None:
        """Begin a pass that is to bring `room` bytes more.

        Raises:
            ProtocolError: it is not the next one, or there were too many.

        """
        if number != self._passes + 1 or number > MOST_PASSES:
            raise ProtocolError(f"the sender makes pass {number} after {self._passes} passes, of {MOST_PASSES} at most")
        self._passes = number
        self._known += max(0, room)
        self.spent, self._last, self._removed = 0, None, False

    def go_to(self, path: bytes, *, removing: bool = False) -> None:
        """Take note of which path the sender is at.

        Raises:
            ProtocolError: it was there in this pass.

        """
        again = path == self._last and self._removed and not removing
        if self._last is not None and path <= self._last and not again:
            raise ProtocolError(f"the sender tells of {show(path)} out of order")
        self._last, self._removed = path, removing

    def spend(self, length: int) -> None:
        """Take note of content that has come.

        Raises:
            ResourceExhausted: it is far more than was announced.

        """
        self.spent += length
        most = FACTOR * self._known + SLACK
        if self.spent > most:
            raise ResourceExhausted(
                f"the source sends far more than it has announced: more than {human_size(most)} in one pass, for "
                f"{human_size(self._known)}. If the volume really grows so fast, stop what writes to it and begin again"
            )
