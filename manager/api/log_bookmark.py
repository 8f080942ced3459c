"""How far a log that is followed was passed on, and what of it is new when it is read again. Pure."""

from __future__ import annotations

import calendar
import re
import time
from dataclasses import replace

from manager.api.log_request import LogRequest

# As engines write it before each message that they give with timestamps: always UTC, always nine digits.
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z")


class Bookmark:
    """The place in one task's log up to which its messages, which come with timestamps, were taken.

    Several messages may have one time (the parts of a long line do), so these are counted.
    """

    def __init__(self) -> None:
        self._stamp = b""
        self._taken = 0
        self._known = 0

    def rest_of(self, request: LogRequest) -> LogRequest:
        """Return what to ask of the engine: the log from here on; all of `request` before the first message."""
        self._known = self._taken
        rest = replace(request, timestamps=True)
        found = _STAMP.fullmatch(self._stamp)
        if found is None:
            return rest
        try:
            seconds = calendar.timegm(time.strptime(found[1].decode(), "%Y-%m-%dT%H:%M:%S"))
        except ValueError:  # an engine that gives times that cannot be: all of its log is new
            return rest
        return replace(rest, tail="", since=f"{seconds}.{found[2].decode()}")

    def take(self, payload: bytes) -> bool:
        """Move on by a message; return whether it is new."""
        stamp = payload.partition(b" ")[0]
        if stamp != self._stamp:
            self._stamp, self._taken, self._known = stamp, 1, 0
            return True
        if self._known:
            self._known -= 1
            return False
        self._taken += 1
        return True


def without_stamp(payload: bytes) -> bytes:
    """Return a message without the timestamp before it."""
    return payload.partition(b" ")[2]
