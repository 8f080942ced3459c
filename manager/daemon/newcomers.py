"""Hosts on their way to being managers: workers that are promoted, and managers that have joined and are awaited."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common.aio.first import first_of
from common.errors import FailedPrecondition, Unavailable
from common.model.node import Node
from common.wire.manager_messages import BecomeManager
from manager.dispatch.links import Links
from manager.dispatch.manager_membership import TICKET_SECONDS, ManagerMembership
from manager.dispatch.managers import KnownManagers
from manager.domain.managers import is_awaited, managers
from manager.store.store import Store
from manager.store.watch import Lagged

# A host that joined runs its manager by then or never: its own command gives up after half of that.
COME_SECONDS = 120.0
_LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Promotion:
    """A node that is to become a manager by `until`, in seconds of the event loop; whether its worker was told."""

    until: float
    told: bool = False


class Promotions:
    """Has the hosts of nodes join that are to be managers; nodes whose hosts do not are workers again.

    `promote` tells a node's worker that its host is to become a manager. It raises `Unavailable` while the worker is
    not connected, and `FailedPrecondition` where it never can.
    """

    def __init__(
        self, store: Store, membership: ManagerMembership, promote: Callable[[str, BecomeManager], Awaitable[None]]
    ) -> None:
        self._store = store
        self._membership = membership
        self._promote = promote
        self._promotions: dict[str, _Promotion] = {}

    async def run(self) -> None:
        """Promote until cancelled."""
        with self._store.watch(kinds=(Node,)) as changes:
            while True:
                nodes = self._store.view.nodes
                due = [node for node in nodes if node.spec.role == "manager" and not node.manager_status]
                until = asyncio.get_running_loop().time() + TICKET_SECONDS
                self._promotions = {node.id: self._promotions.get(node.id) or _Promotion(until) for node in due}
                for node in due:
                    await self._promote_one(node, self._promotions[node.id])
                with contextlib.suppress(TimeoutError, Lagged):  # the next look is at the store itself
                    async with asyncio.timeout(_LOOK_SECONDS if due else None):
                        await changes.next()

    async def _promote_one(self, node: Node, promotion: _Promotion) -> None:
        """Have a host join; its worker may not be back yet, where this manager has just begun to lead."""
        if promotion.told:
            why = f"its host has not joined as a manager within {TICKET_SECONDS:g} s: see its worker's log"
        else:
            ticket = self._membership.ticket(node.id)
            try:
                await self._promote(node.id, BecomeManager(ticket=ticket, addr=node.status.addr))
            except Unavailable as error:
                why = f"it could not become a manager: {error.message}"
            except FailedPrecondition as error:
                await self._membership.give_up(node.id, f"it cannot become a manager: {error.message}")
                return
            else:
                promotion.told = True
                return
        if promotion.until < asyncio.get_running_loop().time():
            await self._membership.give_up(node.id, why)


class AwaitedManagers:
    """Records which managers have come up since they joined, and demotes those that never do."""

    def __init__(self, store: Store, membership: ManagerMembership, known: KnownManagers, links: Links) -> None:
        self._store = store
        self._membership = membership
        self._known = known
        self._links = links

    async def run(self) -> None:
        """Watch the managers that are awaited, until cancelled."""
        since: dict[str, float] = {}  # in seconds of the event loop, by node id
        while True:
            now = asyncio.get_running_loop().time()
            awaited = [node.id for node in managers(self._store.view) if is_awaited(node)]
            since = {node_id: since.get(node_id, now) for node_id in awaited}
            came = {node_id for node_id in since if self._links.reachable(node_id)}
            late = {node_id for node_id, began in since.items() if began + COME_SECONDS <= now} - came
            try:
                if came:
                    await self._membership.record_arrival(came)
                for node_id in late:
                    why = f"its manager was not heard of within {COME_SECONDS:g} s after it had joined"
                    _log.warning("node %s is no longer a manager: %s", node_id, why)
                    await self._membership.take_back(node_id, why)
            except Unavailable as error:
                _log.warning("cannot record which managers have come; trying again: %s", error.message)
            await first_of(self._known.moved(), self._links.moved(), within=_LOOK_SECONDS if awaited else None)
