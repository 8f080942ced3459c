"""Connections that have yet to say, or to show, what they are for: how many there may be, and what failed ones cost.

A connection has failed when it ends before it has come to something: before a session began, a stream was taken, a
request was answered. Where a node has too many its address pays for them: see `common.wire.admission`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

from common.aio.rate_limit import Rate, RateLimit
from common.errors import ResourceExhausted
from common.wire.admission import Admission, source_of
from common.wire.channel import PeerInfo

# Without a certificate, in all and of one address: they join.
MAX_STRANGERS = 256
STRANGERS_OF_ADDRESS = 64
# With one node's certificate: as many as it is asked for streams at once, and some.
VISITS_OF_NODE = 300
# Failed ones of one node, as of one that is refused and tries again every few seconds.
FAILED_OF_NODE = Rate(burst=10, per_second=1)


class Visitors:
    """All of them, by who they are. `admission` is that of the port that they come by."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._strangers: Counter[str] = Counter()
        self._of_node: Counter[str] = Counter()
        self._failed = RateLimit(FAILED_OF_NODE)

    @contextlib.contextmanager
    def visit(self, peer: PeerInfo) -> Iterator[Visit]:
        """Count a connection until it is settled, or the block ends: then it has failed.

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
                self._note_failed(peer)

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

    def _note_failed(self, peer: PeerInfo) -> None:
        """Have a node pay, and its address for what that has not: others may have the same address."""
        now = asyncio.get_running_loop().time()
        if peer.identity is not None:
            self._failed.spend(peer.identity.node_id, 1.0, now)
            if self._failed.left(peer.identity.node_id, now) > 0:
                return
        self._admission.note_failed(peer.remote_address, now)


class Visit:
    """One connection. `settle` it when it has come to something."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self.settled = False
        self._leave = leave

    def settle(self) -> None:
        if not self.settled:
            self.settled = True
            self._leave()
