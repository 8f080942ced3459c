"""A node's quota at a manager: how much it sends, and how often it begins a session. Pure: time is passed in.

A node that sends too much is slowed: nothing is read from it until its budget is positive again. If it goes on for
`EXCESS_SECONDS`, or breaks the protocol, its session is ended and it is banned for a while, longer each time. Times are
the loop's, in seconds.
"""

from __future__ import annotations

import math

from common.aio.rate_limit import Rate, TokenBucket
from common.errors import FailedPrecondition, ResourceExhausted
from common.wire.allowances import BYTES, MESSAGES, weight
from common.wire.message import Message

EXCESS_SECONDS = 30.0
# Sessions that one node begins: a flapping network makes it begin one every few seconds.
SESSIONS = Rate(burst=10, per_second=1)
# Writes that change endpoints of running containers: each of them changes the rules of other hosts.
ENDPOINT_CHANGES = Rate(burst=50, per_second=5)
FIRST_BAN_SECONDS = 15.0
MAX_BAN_SECONDS = 300.0
# What it did is forgotten after so long a time.
FORGET_SECONDS = 3600.0


class Violation(FailedPrecondition):
    """What a node did that ends its session and bans it for a while."""


class OverBudget(Violation):
    """It has sent too much for too long, or too much at once."""


class Banned(ResourceExhausted):
    """A node may not begin a session for a while, for an earlier violation; `why` is for its record."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(f"{why}: try again in {math.ceil(seconds)} s")
        self.why = why


class Quota:
    """The quota of one node, over all its sessions."""

    def __init__(self, now: float) -> None:
        self._limits = (_Limit("bytes", BYTES, now), _Limit("messages", MESSAGES, now))
        self._sessions = TokenBucket(SESSIONS, now)
        self._endpoint_changes = TokenBucket(ENDPOINT_CHANGES, now)
        self._violations = 0
        self._last_violation = -math.inf
        self._why = ""

    def spend(self, message: Message, size: int, now: float) -> float:
        """Count a message of `size` bytes; return for how many seconds nothing should be read from the node.

        Raises:
            OverBudget: that was too much at once, or it has been too much for too long.

        """
        amounts = zip(self._limits, (size, weight(message)), strict=True)
        return max([limit.spend(amount, now) for limit, amount in amounts])

    def delay_endpoint_change(self, now: float) -> float:
        """Count a write of the kind of `ENDPOINT_CHANGES`; return for how many seconds it must wait."""
        return self._endpoint_changes.spend(1.0, now)

    @property
    def slowed(self) -> bool:
        """Whether it has recently sent more than it may."""
        return any(limit.since is not None for limit in self._limits)

    def begin_session(self, now: float) -> None:
        """Count a session, or that the worker says why it has none.

        Raises:
            Banned: for what it did before.
            ResourceExhausted: it does this too often.

        """
        wait = self._last_violation + self._ban_seconds() - now
        if wait > 0:
            raise Banned(self._why, wait)
        if not self._sessions.take(1.0, now):
            wait = 1 / SESSIONS.per_second
            raise ResourceExhausted(
                f"it has begun more than {SESSIONS.burst:g} sessions in a short time: try again in {wait:g} s"
            )

    def record_violation(self, violation: Violation, now: float) -> str:
        """Count a violation that ended a session; return the message for the node's record."""
        self._violations = 1 if now - self._last_violation > FORGET_SECONDS else self._violations + 1
        self._last_violation = now
        self._why = f"its session was ended: {violation.message}"
        return self._why

    def _ban_seconds(self) -> float:
        if not self._violations:
            return 0.0
        return min(MAX_BAN_SECONDS, FIRST_BAN_SECONDS * 2.0 ** (self._violations - 1))


class _Limit:
    """One limit; `since` is when the node exceeded it, None once half a burst is left again."""

    def __init__(self, name: str, rate: Rate, now: float) -> None:
        self.since: float | None = None
        self._name = name
        self._rate = rate
        self._bucket = TokenBucket(rate, now)

    def spend(self, amount: float, now: float) -> float:
        if amount > self._rate.burst:
            raise OverBudget(f"it said {amount:g} {self._name} at once, where {self._rate.burst:g} are the most")
        if self._bucket.left(now) >= self._rate.burst / 2:
            self.since = None
        pause = self._bucket.spend(amount, now)
        if not pause:
            return 0.0
        if self.since is None:
            self.since = now
        if now - self.since > EXCESS_SECONDS:
            raise OverBudget(
                f"for {EXCESS_SECONDS:g} s on end it said more than {self._rate.per_second:g} {self._name} a second, "
                "the most that a node may"
            )
        return pause
