"""Pending connections: those that have not served a purpose yet. Bounds their number, and counts failed ones.

A connection fails when it ends before it has served a purpose: a session began, a stream was taken, a request was
answered. Failed ones beyond a node's rate count against its address: see `common.wire.admission`.
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

# Without a certificate, in all and of one address: hosts that join.
MAX_STRANGERS = 256
STRANGERS_OF_ADDRESS = 64
# With one node's certificate: more than the streams that it is asked for at once.
PENDING_OF_NODE = 300
# Failed ones of one node: one that is refused and retries every few seconds stays below.
FAILED_OF_NODE = Rate(burst=10, per_second=1)


class PendingConnections:
    """Counts pending connections by peer. `admission` is that of the port that they arrive at."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._strangers: Counter[str] = Counter()
        self._of_node: Counter[str] = Counter()
        self._failed = RateLimit(FAILED_OF_NODE)

    @contextlib.contextmanager
    def track(self, peer: PeerInfo) -> Iterator[PendingConnection]:
        """Count a connection until it is settled; if the block ends before that, it has failed.

        Raises:
            ResourceExhausted: there are too many, in all or of this peer.

        """
        group, key = self._place(peer)
        group[key] += 1

        def leave() -> None:
            group[key] -= 1
            if not group[key]:
                del group[key]

        pending = PendingConnection(leave)
        try:
            yield pending
        finally:
            if not pending.settled:
                pending.settle()
                self._note_failed(peer)

    def _place(self, peer: PeerInfo) -> tuple[Counter[str], str]:
        """Return the counter for a connection, and its key there."""
        if peer.identity is None:
            source = source_of(peer.remote_address)
            if self._strangers.total() >= MAX_STRANGERS or self._strangers[source] >= STRANGERS_OF_ADDRESS:
                raise ResourceExhausted("too many hosts are joining at once: try again in a few seconds")
            return self._strangers, source
        node_id = peer.identity.node_id
        if self._of_node[node_id] >= PENDING_OF_NODE:
            raise ResourceExhausted(
                f"node {node_id} has {PENDING_OF_NODE} connections that have not stated their purpose"
            )
        return self._of_node, node_id

    def _note_failed(self, peer: PeerInfo) -> None:
        """Count a failure against the node; only beyond its rate against the address, which other nodes may share."""
        now = asyncio.get_running_loop().time()
        if peer.identity is not None:
            self._failed.spend(peer.identity.node_id, 1.0, now)
            if self._failed.left(peer.identity.node_id, now) > 0:
                return
        self._admission.note_failed(peer.remote_address, now)


class PendingConnection:
    """One connection. Call `settle` when it has served a purpose."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self.settled = False
        self._leave = leave

    def settle(self) -> None:
        if not self.settled:
            self.settled = True
            self._leave()
