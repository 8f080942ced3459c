"""What one node may ask of a manager: how much it says, and how often it begins a session. Pure: time is passed in.

A node that says too much is slowed: nothing is read of it until what it said is paid off. One that goes on for
`EXCESS_SECONDS` has its session ended, as has one that breaks the protocol, and is kept out for a while, longer each
time. Times are the loop's, in seconds.
"""

from __future__ import annotations

import math

from common.aio.rate_limit import Rate, TokenBucket
from common.errors import FailedPrecondition, ResourceExhausted
from common.wire.allowances import BYTES, MESSAGES, weight
from common.wire.message import Message

EXCESS_SECONDS = 30.0
# Sessions that one node begins: a network that fails again and again makes it begin one every few seconds.
SESSIONS = Rate(burst=10, per_second=1)
# Writes that change what other nodes know of what runs here and goes on: each of them makes its host's rules anew.
RETOLD = Rate(burst=50, per_second=5)
KEPT_OUT_FIRST = 15.0
KEPT_OUT_LIMIT = 300.0
# What it did is forgotten after so long a time.
FORGIVEN_AFTER = 3600.0


class Offence(FailedPrecondition):
    """What a node did that its session is ended for, and that it is kept out for then."""


class OverBudget(Offence):
    """It has said too much for too long, or too much at once."""


class KeptOut(ResourceExhausted):
    """A node begins no session for a while, for what it did in the last; `why` is for its record."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(f"{why}: try again in {math.ceil(seconds)} s")
        self.why = why


class Quota:
    """One node's, over all its sessions."""

    def __init__(self, now: float) -> None:
        self._limits = (_Limit("bytes", BYTES, now), _Limit("messages", MESSAGES, now))
        self._sessions = TokenBucket(SESSIONS, now)
        self._retold = TokenBucket(RETOLD, now)
        self._offences = 0
        self._last_offence = -math.inf
        self._why = ""

    def spend(self, message: Message, size: int, now: float) -> float:
        """Count a message of so many bytes; return for how many seconds nothing is to be read of the node.

        Raises:
            OverBudget: that was too much at once, or it has been too much for too long.

        """
        amounts = zip(self._limits, (size, weight(message)), strict=True)
        return max([limit.spend(amount, now) for limit, amount in amounts])

    def retell(self, now: float) -> float:
        """Count a write of the kind of `RETOLD`; return how long it is to wait. Too many are not an offence."""
        return self._retold.spend(1.0, now)

    @property
    def slowed(self) -> bool:
        """Whether it has lately said more than it may."""
        return any(limit.since is not None for limit in self._limits)

    def begin_session(self, now: float) -> None:
        """Count a session, or that the worker says why it has none.

        Raises:
            KeptOut: for what it did before.
            ResourceExhausted: it does this too often.

        """
        wait = self._last_offence + self._penalty() - now
        if wait > 0:
            raise KeptOut(self._why, wait)
        if not self._sessions.take(1.0, now):
            wait = 1 / SESSIONS.per_second
            raise ResourceExhausted(
                f"it has begun more than {SESSIONS.burst:g} sessions in a short time: try again in {wait:g} s"
            )

    def offend(self, offence: Offence, now: float) -> str:
        """Hear that a session was ended for what the node did; return what its record is to say."""
        self._offences = 1 if now - self._last_offence > FORGIVEN_AFTER else self._offences + 1
        self._last_offence = now
        self._why = f"its session was ended: {offence.message}"
        return self._why

    def _penalty(self) -> float:
        if not self._offences:
            return 0.0
        return min(KEPT_OUT_LIMIT, KEPT_OUT_FIRST * 2.0 ** (self._offences - 1))


class _Limit:
    """One of the limits; `since` when a node has been beyond it. It is not any more when it has half a burst left."""

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
