"""One manager of several: its links to the others, and what it runs only while it leads.

The leader raises the store's level when every manager has said over its link that it knows a newer one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec.structs import replace

from common.aio.first import first_of
from common.aio.steady import keep_going
from common.errors import Unavailable
from common.model import Node
from common.tls import Identity
from common.wire.manager_messages import BecomeManager
from manager.config import EtcdConfig
from manager.daemon.keys import ManagerKeys
from manager.daemon.leader import Core, LeaderParts, running
from manager.daemon.member_reconciler import MemberReconciler
from manager.daemon.newcomers import AwaitedManagers, Promotions
from manager.daemon.peers import ManagerPeers
from manager.dispatch.links import Links, OwnIdentity
from manager.dispatch.manager_membership import ManagerMembership, Tickets
from manager.dispatch.managers import KnownManagers
from manager.domain.managers import managers
from manager.store.backends.etcd.members import Members
from manager.store.levels import NEWEST_LEVEL, common_level
from manager.store.shared import SharedStore
from manager.store.store import Store
from manager.store.transaction import Transaction

_AGAIN_SECONDS = 1.0

_log = logging.getLogger(__name__)


class ReplicatedManager:
    """One manager of several. `dialling` returns the TLS context to dial others with, `own` whose certificate it shows.

    `etcd` is what changes the members of the managers' own etcd, or how managers reach one that others run.
    """

    def __init__(
        self,
        core: Core,
        store: SharedStore,
        keys: ManagerKeys,
        etcd: Members | EtcdConfig,
        *,
        dialling: Callable[[], ssl.SSLContext],
        own: Callable[[], Identity],
    ) -> None:
        self._core = core
        self._store = store
        self._keys = keys
        self._etcd = etcd
        self._own = own
        self._reconciler: MemberReconciler | None = None
        self.leader = LeaderParts(core)
        self.peers = ManagerPeers(
            store,
            core.clock,
            core.managers,
            core.node_id,
            dispatcher=lambda: self.leader.dispatcher,
            reconciler=lambda: self._reconciler,
            decide_alone=isinstance(etcd, EtcdConfig),
        )
        shown = OwnIdentity(core.node_id, dialling, core.clock)
        self.links = self.peers.links = Links(shown, core.managers, store.view, self.peers, core.rng)

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        """Lead while the context lasts: the loops and workers, and the managers' own membership."""
        core = self._core
        await self._store.update(self._show_certificate)
        tickets = Tickets(core.rng, asyncio.get_running_loop().time)
        membership = ManagerMembership(core.store, core.authority, core.clock, core.rng, tickets)
        reconciler = MemberReconciler(
            core,
            membership,
            self._etcd,
            self.links,
            keyring=lambda: self._keys.keyring,
            hand_over=self.peers.leadership.hand_over,
        )
        promotions = Promotions(core.store, membership, self._promote)
        awaited = AwaitedManagers(core.store, membership, core.managers, self.links)
        upgrade = LevelUpgrade(core.store, core.managers, self.links, core.node_id)
        work = running(
            keep_going("the managers' membership", reconciler.run),
            keep_going("the promotions", promotions.run),
            keep_going("the managers that are awaited", awaited.run),
            keep_going("the store's level", upgrade.run),
        )
        async with self.leader.begin(self.peers.epoch), work:
            self._reconciler = reconciler
            self.peers.note_leading()
            try:
                yield
            finally:
                self._reconciler = None

    async def run(self) -> None:
        """Keep links to the others, and lead whenever it is this manager's turn, until cancelled."""
        async with running(self.links.run(), self.peers.end_demoted()):
            await self.peers.leadership.run()

    async def demoted(self) -> None:
        """Wait until this manager's node is no longer one of the managers."""
        known = self._core.managers
        while known.nodes and self._core.node_id in {node.id for node in known.nodes}:
            await known.moved()

    async def _promote(self, node_id: str, message: BecomeManager) -> None:
        if self.leader.dispatcher is not None:
            await self.leader.dispatcher.promote(node_id, message)

    def _show_certificate(self, tx: Transaction) -> None:
        """Let the others believe the certificate that this manager shows: it may be from before there were others."""
        node, serial = tx.nodes.get(self._core.node_id), self._own().serial
        if node is not None and serial not in node.manager_serials:
            tx.put(replace(node, manager_serials=(*node.manager_serials[-1:], serial)))


class LevelUpgrade:
    """Raises the store's level while this manager leads."""

    def __init__(self, store: Store, known: KnownManagers, links: Links, node_id: str) -> None:
        self._store = store
        self._known = known
        self._links = links
        self._node_id = node_id

    async def run(self) -> None:
        """Raise it whenever it can be, until the newest is reached."""
        while (level := self._store.view.cluster.store_level) < NEWEST_LEVEL:
            again = None
            if (common := self._common(self._known.nodes)) > level:
                try:
                    await self._store.update(self._raise)
                    _log.info("every manager knows level %d: the store is written in it from now on", common)
                    continue
                except Unavailable as error:
                    _log.warning("the level of the store cannot be raised yet: %s", error.message)
                    again = _AGAIN_SECONDS
            await first_of(self._known.moved(), self._links.moved(), within=again)

    def _common(self, nodes: Sequence[Node]) -> int:
        welcomes = [self._links.welcome_of(node.id) for node in nodes if node.id != self._node_id]
        return common_level((NEWEST_LEVEL, *(each.levels[1] if each is not None else None for each in welcomes)))

    def _raise(self, tx: Transaction) -> None:
        """Raise it to what all managers know; the view may have managers that `run` has not seen yet."""
        if (level := self._common(managers(tx))) > tx.cluster.store_level:
            tx.put(replace(tx.cluster, store_level=level))
