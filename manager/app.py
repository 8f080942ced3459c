"""The manager daemon: builds the pieces from the data directory, wires them, runs them. No logic."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import grp
import logging
import random
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from common.aio.steady import keep_going
from common.clock import Clock, SystemClock, sleep_until
from common.process.daemon import Notifier
from common.tls import api_context, renewal_time, server_context
from common.version import version
from common.wire.server import serve as serve_cluster
from manager.api.access.audit import AuditFile
from manager.api.app import Api
from manager.api.context import Identity
from manager.api.engine.connections import ConnectedEngines
from manager.api.http.server import serve as serve_api
from manager.ca.authority import Authority
from manager.ca.files import AuthorityFiles
from manager.config import DataDir, ManagerConfig, split_address
from manager.dispatch.dispatcher import Dispatcher
from manager.loops.allocation import allocation_rule
from manager.loops.attachments import attachment_rule
from manager.loops.autoscaling import Autoscaling
from manager.loops.loop import Loop
from manager.loops.orchestration import orchestration_rules
from manager.loops.scheduling import Scheduling
from manager.loops.tunnel_keys import tunnel_keys_rule
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store

# Members of this group may use the API, which is as good as root on every host of the cluster.
API_GROUP = "swarm"

# When a renewed certificate could not be stored: a fifth of its life is left, at least.
_RENEW_AGAIN_SECONDS = 600.0

_log = logging.getLogger(__name__)


class Manager:
    """A manager in its data directory. `run` ends when `stop` is called, or when the manager has left its cluster."""

    def __init__(self, data: DataDir, config: ManagerConfig, ready: Callable[[], None]) -> None:
        self._data = data
        self._config = config
        self._ready = ready
        self._clock: Clock = SystemClock()
        self._rng = random.SystemRandom()
        self._notifier = Notifier.from_environment()
        self._ended = asyncio.Event()
        self._left = False

    def stop(self) -> None:
        self._ended.set()

    async def run(self) -> bool:
        """Serve the cluster; return whether it has been left.

        Raises:
            SwarmError: a file, an address or the store cannot be had; the message says which.

        """
        try:
            await self._manage()
        finally:
            if self._left:
                self._data.clear()
        return self._left

    async def _manage(self) -> None:
        files = AuthorityFiles(self._data.path)
        authority = files.load()
        async with Store(SqliteBackend(self._data.store), self._clock) as store:
            _settle_memory()
            dispatcher = Dispatcher(
                store,
                authority,
                self._clock,
                self._rng,
                manager_id=self._config.node_id,
                managers=(self._config.advertise_addr,),
            )
            self._cover_names(files, authority, store)
            contexts = _Contexts(server_context(files.node), api_context(files.node))
            audit = AuditFile(self._data.path / "audit.log")
            background = self._background(store, dispatcher)
            async with _running(*background, audit.run(), self._renew(files, authority, store, contexts)):
                await self._serve(store, dispatcher, authority, contexts, audit)

    def _background(self, store: Store, dispatcher: Dispatcher) -> list[Coroutine[Any, Any, None]]:
        rules = (*orchestration_rules(), attachment_rule(), allocation_rule(), tunnel_keys_rule())
        work = [keep_going(rule.name, Loop(rule, store, self._clock, self._rng).run) for rule in rules]
        work.append(keep_going("scheduling", Scheduling(store, self._clock).run))
        work.append(keep_going("autoscaling", Autoscaling(store, dispatcher.measurements, self._clock).run))
        return [*work, dispatcher.run(), store.writing(), self._notifier.keep_alive()]

    async def _serve(
        self, store: Store, dispatcher: Dispatcher, authority: Authority, contexts: _Contexts, audit: AuditFile
    ) -> None:
        """Answer workers and clients until the end."""
        api = Api(
            store,
            self._clock,
            self._rng,
            _engines(dispatcher),
            Identity(self._config.node_id, self._config.advertise_addr, version(), hosts=self._config.api_addresses()),
            authority,
            audit=audit.record,
            registry_auth=dispatcher.registry_auth,
            leave=self._leave,
            measurements=dispatcher.measurements,
            refusals=dispatcher.refusals,
        )
        host, port = split_address(self._config.listen_addr)
        async with (
            api,
            await serve_cluster(host or None, port, contexts.cluster, dispatcher.handle, dispatcher.admission),
            serve_api(api, self._config.hosts, group=_existing(API_GROUP), ssl_context=contexts.api),
        ):
            cluster = store.view.cluster
            self._ready()
            self._notifier.ready(f"managing cluster {cluster.id}")
            _log.info("manager %s of cluster %s is ready", self._config.node_id, cluster.id)
            await self._ended.wait()
            self._notifier.stopping()

    async def _leave(self) -> None:
        """End the cluster: the daemon stops, is not started again, and its files go when it has stopped."""
        _log.warning("leaving: cluster and certificate authority of %s are removed", self._data.path)
        self._left = True
        self._data.forget()
        self.stop()

    async def _renew(self, files: AuthorityFiles, authority: Authority, store: Store, contexts: _Contexts) -> None:
        """Renew this manager's own certificate before it expires, for as long as the manager runs."""
        while True:
            due = renewal_time(files.node.identity(), self._rng)
            await sleep_until(due, self._clock)
            try:
                self._issue_own(files, authority, store)
            except OSError as error:
                _log.error(
                    "the renewed certificate cannot be stored in %s: %s: check its disk; trying again in %.0f s",
                    *(files.directory, error.strerror, _RENEW_AGAIN_SECONDS),
                )
                await asyncio.sleep(_RENEW_AGAIN_SECONDS)
                continue
            contexts.reload(files)
            _log.info("renewed the certificate of manager %s", self._config.node_id)

    def _issue_own(self, files: AuthorityFiles, authority: Authority, store: Store) -> None:
        names = self._config.certificate_names(socket.gethostname())
        lifetime = store.view.cluster.spec.ca_config.node_cert_expiry
        files.issue_own(authority, self._config.node_id, names, lifetime, self._clock)

    def _cover_names(self, files: AuthorityFiles, authority: Authority, store: Store) -> None:
        """Make the certificate anew when it is not for all the names that clients may use by now."""
        if not files.covers(self._config.certificate_names(socket.gethostname())):
            self._issue_own(files, authority, store)
            _log.info("the certificate of manager %s now has its present names", self._config.node_id)


@dataclass(frozen=True, slots=True)
class _Contexts:
    """The TLS contexts of the cluster's port and of the API: one certificate, other clients."""

    cluster: ssl.SSLContext
    api: ssl.SSLContext

    def reload(self, files: AuthorityFiles) -> None:
        """Show the certificate that was stored last to whoever connects from now on."""
        self.cluster.load_cert_chain(files.node.node)
        self.api.load_cert_chain(files.node.node)


@contextlib.asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run background work while the context lasts; its failure ends the context."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        yield
        for task in tasks:
            task.cancel()


def _settle_memory() -> None:
    """Keep the garbage collector's full passes rare, and off what was just loaded and stays.

    Over 100,000 tasks one takes 57 ms, in which no heartbeat is heard; hardly anything here is garbage in cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _existing(group: str) -> str:
    """Return the group's name, or nothing where the host does not have it: then the API is its owner's alone."""
    try:
        return grp.getgrnam(group).gr_name
    except KeyError:
        return ""


async def run(
    data: DataDir,
    ready: Callable[[], None] = lambda: None,
    *,
    hosts: Sequence[str] = (),
    tls_names: Sequence[str] = (),
) -> bool:
    """Run the manager of a data directory until SIGTERM, SIGINT, or, as is returned, until it has left its cluster.

    `ready` is called when workers and clients are answered. `hosts` and `tls_names`, where given, replace what the
    data directory says, for this run.
    """
    manager = Manager(data, data.load().with_api(hosts, tls_names), ready)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, manager.stop)
    return await manager.run()


def _engines(dispatcher: Dispatcher) -> ConnectedEngines:
    images = dispatcher.images
    return ConnectedEngines(
        dispatcher.engine_connector, dispatcher.open_stream, images.holders, images.bring, dispatcher.applied
    )
