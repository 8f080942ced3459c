"""One of several managers takes each step of the root's replacement, when it is its turn.

Its etcd first, which restarts where other roots are to be believed, then its own certificate; then the leader writes it
down. A leader lets another manager lead before its etcd restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from common.aio.first import first_of
from common.errors import SwarmError
from manager.ca.rotation import root_of, step_of, turn
from manager.daemon.certificate import FOLLOW_AGAIN_SECONDS, OwnCertificate
from manager.daemon.fellows import Fellows
from manager.etcd import Etcd
from manager.store.shared import SharedStore
from manager.store.watch import Lagged

_log = logging.getLogger(__name__)


class RootSteps:
    """Takes steps for the manager of a node."""

    def __init__(
        self, store: SharedStore, own: Etcd, certificate: OwnCertificate, fellows: Fellows, node_id: str
    ) -> None:
        self._store = store
        self._own = own
        self._certificate = certificate
        self._fellows = fellows
        self._node_id = node_id

    async def run(self) -> None:
        """Take each step until cancelled."""
        with self._store.watch() as changes:
            while True:
                if turn(self._store.view, self._fellows.leader_id) == self._node_id:
                    await self._try_to_take()
                    continue
                # Who leads changes without a change of the store.
                waits = [self._store.moved()] if turn(self._store.view, "") else []
                with contextlib.suppress(Lagged):  # the next look is at the store itself
                    await first_of(changes.next(), *waits)

    async def _try_to_take(self) -> None:
        try:
            await self._take()
        except (OSError, SwarmError) as error:
            _log.warning("the next step of the authority is not taken yet: %s", error)
            await asyncio.sleep(FOLLOW_AGAIN_SECONDS)

    async def _take(self) -> None:
        root, step = root_of(self._store.view), step_of(self._store.view)
        assert root is not None, "it has steps"
        if self._fellows.could_hand_over and self._own.restarts_for(root):
            moved = self._store.moved()
            self._fellows.leadership.hand_over()
            await moved
            return
        await self._own.take_root(root)
        await self._certificate.renew_now()
        await self._fellows.note_step(step)
        await self._fellows.links.redial()
        _log.info("manager %s has certificates of step %d of the authority", self._node_id, step)
