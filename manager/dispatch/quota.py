"""What one node may ask of a manager: how much it says, and how often it begins a session. Pure: time is passed in.

A node that says too much is slowed: nothing is read of it until what it said is paid off. One that goes on for
`EXCESS_SECONDS` has its session ended, as has one that breaks the protocol, and is kept out for a while, longer each
time. Times are the loop's, in seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator

from common.aio.rate_limit import Rate, RateLimit, TokenBucket
from common.errors import FailedPrecondition, ResourceExhausted
from common.wire.admission import BYTES, MESSAGES, Admission, source_of, weight
from common.wire.channel import PeerInfo
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


# Connections that have yet to say, or to show, what they are for: how many there may be, and what vain ones cost.
#
# A connection is vain when it ends before it has come to something: before a session began, a stream was taken, a
# request was answered. Where a node's are too many its address pays for them: see `common.wire.admission`.


# Without a certificate, in all and of one address: they join.
MAX_STRANGERS = 256
STRANGERS_OF_ADDRESS = 64
# With one node's certificate: as many as it is asked for streams at once, and some.
VISITS_OF_NODE = 300
# Vain ones of one node, as of one that is refused and tries again every few seconds.
VAIN_OF_NODE = Rate(burst=10, per_second=1)


class Visitors:
    """All of them, by who they are. `admission` is that of the port that they come by."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._strangers: Counter[str] = Counter()
        self._of_node: Counter[str] = Counter()
        self._vain = RateLimit(VAIN_OF_NODE)

    @contextlib.contextmanager
    def visit(self, peer: PeerInfo) -> Iterator[Visit]:
        """Count a connection until it is settled, or the block ends: then it was vain.

        Raises:
            ResourceExhausted: there are too many, in all or of this peer.

        """
        group, key = self._place(peer)
        group[key] += 1

        def leave() -> None:
            group[key] -= 1
            if not group[key]:
                del group[key]

        visit = Visit(leave)
        try:
            yield visit
        finally:
            if not visit.settled:
                visit.settle()
                self._in_vain(peer)

    def _place(self, peer: PeerInfo) -> tuple[Counter[str], str]:
        """Choose where a connection is counted, and under what."""
        if peer.identity is None:
            source = source_of(peer.remote_address)
            if self._strangers.total() >= MAX_STRANGERS or self._strangers[source] >= STRANGERS_OF_ADDRESS:
                raise ResourceExhausted("too many hosts are joining at once: try again in a few seconds")
            return self._strangers, source
        node_id = peer.identity.node_id
        if self._of_node[node_id] >= VISITS_OF_NODE:
            raise ResourceExhausted(
                f"node {node_id} has {VISITS_OF_NODE} connections that have not stated their purpose"
            )
        return self._of_node, node_id

    def _in_vain(self, peer: PeerInfo) -> None:
        """Have a node pay, and its address for what that has not: others may have the same address."""
        now = asyncio.get_running_loop().time()
        if peer.identity is not None:
            self._vain.spend(peer.identity.node_id, 1.0, now)
            if self._vain.left(peer.identity.node_id, now) > 0:
                return
        self._admission.in_vain(peer.remote_address, now)


class Visit:
    """One connection. `settle` it when it has come to something."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self.settled = False
        self._leave = leave

    def settle(self) -> None:
        if not self.settled:
            self.settled = True
            self._leave()
