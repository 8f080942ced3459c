"""This manager's own certificate: valid for the names that clients use, renewed in time, shown at both ports.

When the root is replaced, each of several managers takes its steps when it is its turn: its etcd first, which restarts
if the trusted roots change, then its own certificate; then the leader records the step. A leader lets another manager
lead before its etcd restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from common.aio.first import first_of
from common.clock import Clock, sleep_until
from common.errors import SwarmError, Unavailable
from common.model import Node, RootKey
from common.tls import (
    CredentialFiles,
    Identity,
    api_context,
    certificate_request,
    client_context,
    follow_context,
    new_key,
    public_context,
    renewal_time,
    server_context,
)
from common.wire.manager_messages import ManagerRenew
from common.wire.messages import RenewReply
from manager.ca.authority import Authority
from manager.ca.files import ManagerFiles
from manager.ca.rotation import root_of, step_of, turn
from manager.config import ManagerConfig
from manager.daemon.peers import ManagerPeers
from manager.etcd import Etcd
from manager.store.shared import SharedStore
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.watch import Lagged

# Seconds until a renewal is tried again when its certificate could not be stored: a fifth of its life is left.
RENEW_AGAIN_SECONDS = 600.0
# Seconds until the leader is asked again.
ASK_AGAIN_SECONDS = 5.0
# Seconds until a step is tried again, for which the whole cluster waits.
FOLLOW_AGAIN_SECONDS = 5.0

Renew: TypeAlias = Callable[[ManagerRenew], Awaitable[RenewReply]]

_log = logging.getLogger(__name__)


class OwnCertificate:
    """The certificate in use. `files` returns where it is, as it is locked now.

    `cluster`, `api` and `dashboard` are the TLS contexts of the ports, each of which has other clients; `dialling` is
    for other managers.
    """

    def __init__(
        self,
        files: Callable[[], ManagerFiles],
        authority: Authority,
        config: ManagerConfig,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._renew: Renew | None = None
        self._stale = False
        self._present_files = files
        self._authority = authority
        self._config = config
        self._clock = clock
        self._rng = rng
        self._step = 0
        self._shown: _ServerContexts
        self.cluster: ssl.SSLContext
        self.api: ssl.SSLContext
        self.dashboard: ssl.SSLContext
        self.dialling: ssl.SSLContext

    @property
    def _files(self) -> ManagerFiles:
        return self._present_files()

    def signed_by(self, renew: Renew) -> None:
        """Have the leader sign it from now on, as there are several managers."""
        self._renew = renew

    def open(self, store: Store) -> None:
        """Make the TLS contexts; before that a new certificate if the present one lacks names or has an old authority.

        If the leader signs certificates, the new one follows as soon as there is a leader.
        """
        changed = self._renew is None and self._noted_step(store) != self._authority.step
        self._stale = changed or not self._files.covers(self._names())
        if self._stale and self._renew is None:
            self._issue(store)
            self._stale = False
            _log.info("the certificate of manager %s now has its present names", self._config.node_id)
        self._step = self._authority.step if self._renew is None else self._noted_step(store)
        self._show()
        ports = _ServerContexts.of(self._files.node)
        self.cluster, self.api, self.dashboard = ports.cluster, ports.api, ports.dashboard
        follow_context(self.cluster, lambda: self._shown.cluster)
        follow_context(self.api, lambda: self._shown.api)
        follow_context(self.dashboard, lambda: self._shown.dashboard)

    async def keep_valid(self, store: Store) -> None:
        """Renew the certificate before it expires, until cancelled; new connections are shown the new one."""
        while True:
            if not self._stale:
                await sleep_until(renewal_time(self.identity(), self._rng), self._clock)
            try:
                if self._renew is None:
                    self._replace(store)
                else:
                    await self.renew_now()
            except OSError as error:
                await self._wait_for_disk(error, RENEW_AGAIN_SECONDS)
                continue
            except SwarmError as error:
                _log.warning("this manager's certificate is not renewed yet: %s", error.message)
                await asyncio.sleep(ASK_AGAIN_SECONDS)
                continue
            _log.info("renewed the certificate of manager %s", self._config.node_id)

    def identity(self) -> Identity:
        """Return the identity in the certificate, with its validity."""
        return self._files.node.identity()

    async def follow_authority(self, store: Store) -> None:
        """Get a certificate of each step of the authority, and record that in the store, until cancelled."""
        with store.watch(kinds=(RootKey, Node)) as changes:
            while True:
                step = self._authority.step
                if self._step != step:
                    try:
                        self._replace(store)
                    except OSError as error:
                        await self._wait_for_disk(error, FOLLOW_AGAIN_SECONDS)
                        continue
                    self._step = step
                    _log.info("manager %s has a certificate of step %d of the authority", self._config.node_id, step)
                if self._noted_step(store) != self._step:
                    try:
                        await store.update(self._note_step)
                    except Unavailable as error:
                        _log.warning("step %d of the authority is not noted yet: %s", self._step, error.message)
                        await asyncio.sleep(FOLLOW_AGAIN_SECONDS)
                        continue
                with contextlib.suppress(Lagged):  # the next look is at the store itself
                    await changes.next()

    async def renew_now(self) -> None:
        """Have the leader sign a certificate, store it with the trusted roots, and show it.

        Raises:
            SwarmError: it was not signed.
            OSError: it cannot be stored.

        """
        assert self._renew is not None, "it is one of several managers'"
        await self._ask(self._renew)
        self._stale = False
        self._show()

    def _replace(self, store: Store) -> None:
        """Make, store and show a new certificate, where this manager is the only one.

        Raises:
            OSError: it cannot be stored.

        """
        self._issue(store)
        self._stale = False
        self._show()

    async def _wait_for_disk(self, error: OSError, pause: float) -> None:
        """Report that a certificate could not be stored, and wait `pause` seconds for somebody to make room."""
        _log.error(
            "the renewed certificate cannot be stored in %s: %s: check its disk; trying again in %.0f s",
            self._files.directory,
            error.strerror,
            pause,
        )
        await asyncio.sleep(pause)

    def _show(self) -> None:
        """Use the stored certificate and roots for new connections."""
        files = self._files.node
        self._shown = _ServerContexts.of(files)
        self.dialling = client_context(files)

    def _noted_step(self, store: Store) -> int:
        node = store.view.nodes.get(self._config.node_id)
        return node.manager_status.certificate_step if node is not None and node.manager_status is not None else 0

    def _note_step(self, tx: Transaction) -> None:
        node = tx.nodes.get(self._config.node_id)
        if node is not None and node.manager_status is not None:
            status = msgspec.structs.replace(node.manager_status, certificate_step=self._step)
            tx.put(msgspec.structs.replace(node, manager_status=status))

    def _names(self) -> tuple[str, ...]:
        return self._config.certificate_names(socket.gethostname())

    def _issue(self, store: Store) -> None:
        lifetime = store.view.cluster.spec.ca_config.node_cert_expiry
        self._files.issue_own(self._authority, self._config.node_id, self._names(), lifetime, self._clock)

    async def _ask(self, renew: Renew) -> None:
        """Have the leader sign a certificate for a fresh key, and store both."""
        key = new_key()
        reply = await renew(ManagerRenew(csr=certificate_request(key), names=self._names()))
        self._files.node.write(reply.certificate, key, reply.root_certificate)


@dataclass(frozen=True, slots=True)
class _ServerContexts:
    """The TLS contexts of one certificate, one for each port."""

    cluster: ssl.SSLContext
    api: ssl.SSLContext
    dashboard: ssl.SSLContext

    @classmethod
    def of(cls, files: CredentialFiles) -> _ServerContexts:
        return cls(cluster=server_context(files), api=api_context(files), dashboard=public_context(files))


class RootSteps:
    """Takes a manager's steps of a root rotation."""

    def __init__(
        self, store: SharedStore, own: Etcd, certificate: OwnCertificate, peers: ManagerPeers, node_id: str
    ) -> None:
        self._store = store
        self._own = own
        self._certificate = certificate
        self._peers = peers
        self._node_id = node_id

    async def run(self) -> None:
        """Take each step until cancelled."""
        with self._store.watch(kinds=(RootKey, Node)) as changes:
            while True:
                if turn(self._store.view, self._peers.leader_id) == self._node_id:
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
        if self._peers.could_hand_over and self._own.restarts_for(root):
            moved = self._store.moved()
            self._peers.leadership.hand_over()
            await moved
            return
        await self._own.take_root(root)
        await self._certificate.renew_now()
        await self._peers.note_step(step)
        await self._peers.links.redial()
        _log.info("manager %s has certificates of step %d of the authority", self._node_id, step)
