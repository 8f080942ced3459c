"""What a manager is made of where there are several: links to the others, and what is there only while it leads."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

from msgspec.structs import replace

from common.aio.steady import keep_going
from common.tls import Identity
from common.wire.manager_messages import BecomeManager
from manager.config import EtcdConfig
from manager.daemon.admitting import Admitting
from manager.daemon.fellows import Fellows
from manager.daemon.keys import ManagerKeys
from manager.daemon.leading import Ground, Leading, running
from manager.daemon.rising import Rising
from manager.dispatch.links import Links, Own
from manager.dispatch.manager_membership import ManagerMembership
from manager.dispatch.tickets import Tickets
from manager.store.backends.etcd.members import Members
from manager.store.shared import SharedStore
from manager.store.transaction import Transaction


class Circle:
    """One manager of several. `dialling` and `own` return the TLS context to dial others with, and whose it shows.

    `external` is the etcd that others run, whose `members` are not ours; None: the managers' own.
    """

    def __init__(
        self,
        ground: Ground,
        store: SharedStore,
        keys: ManagerKeys,
        members: Members | None,
        external: EtcdConfig | None,
        *,
        dialling: Callable[[], ssl.SSLContext],
        own: Callable[[], Identity],
    ) -> None:
        self._ground = ground
        self._store = store
        self._keys = keys
        self._members = members
        self._external = external
        self._own = own
        self._admitting: Admitting | None = None
        self.leading = Leading(ground)
        self.fellows = Fellows(
            store,
            ground.clock,
            ground.managers,
            ground.node_id,
            dispatcher=lambda: self.leading.dispatcher,
            admitting=lambda: self._admitting,
            decide_alone=external is not None,
        )
        shown = Own(ground.node_id, dialling, ground.clock)
        self.links = self.fellows.links = Links(shown, ground.managers, store.view, self.fellows, ground.rng)

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        """Lead while the context lasts: the loops and workers, and the managers' own membership."""
        ground = self._ground
        await self._store.update(self._show_certificate)
        tickets = Tickets(ground.rng, asyncio.get_running_loop().time)
        admitting = Admitting(
            ground.store,
            ManagerMembership(ground.store, ground.authority, ground.clock, ground.rng, tickets),
            self._members,
            self.links,
            ground.managers,
            lambda: self._keys.keyring,
            ground.node_id,
            self.fellows.leadership.hand_over,
            self._promote,
            tickets,
            self._external,
        )
        rising = keep_going("the store's level", Rising(ground.store, ground.managers, self.links, ground.node_id).run)
        async with self.leading.begin(self.fellows.epoch), running(admitting.run(), rising):
            self._admitting = admitting
            self.fellows.turn()
            try:
                yield
            finally:
                self._admitting = None

    async def run(self) -> None:
        """Keep links to the others, and lead whenever it is this manager's turn, until cancelled."""
        async with running(self.links.run()):
            await self.fellows.leadership.run()

    async def demoted(self) -> None:
        """Wait until this manager's node is one of the managers no more."""
        known = self._ground.managers
        while known.nodes and self._ground.node_id in {node.id for node in known.nodes}:
            await known.moved()

    async def _promote(self, node_id: str, message: BecomeManager) -> None:
        if self.leading.dispatcher is not None:
            await self.leading.dispatcher.promote(node_id, message)

    def _show_certificate(self, tx: Transaction) -> None:
        """Let the others believe the certificate that this manager shows: it may be from before there were others."""
        node, serial = tx.nodes.get(self._ground.node_id), self._own().serial
        if node is not None and serial not in node.manager_serials:
            tx.put(replace(node, manager_serials=(*node.manager_serials[-1:], serial)))
