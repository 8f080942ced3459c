"""The manager daemon: builds the pieces from the data directory, wires them, runs them. No logic."""

from __future__ import annotations

import asyncio
import gc
import grp
import logging
import random
import signal
from collections.abc import Callable, Sequence

from common.clock import Clock, SystemClock
from common.process.daemon import Notifier
from common.version import version
from common.wire.server import serve as serve_cluster
from manager.api.access.audit import AuditFile
from manager.api.app import Api
from manager.api.context import Identity
from manager.api.http.server import serve as serve_api
from manager.ca.authority import Authority
from manager.ca.files import ManagerFiles, RootFiles
from manager.ca.migration import adopt_root, load_keyring
from manager.config import DataDir, ManagerConfig, split_address
from manager.daemon.certificate import OwnCertificate
from manager.daemon.engines import LeadersEngines
from manager.daemon.leading import Ground, Leading, running
from manager.daemon.vitals import read_vitals
from manager.dispatch.reception import Reception
from manager.domain.refusals import Refusals
from manager.metrics.instruments import Instruments
from manager.metrics.lag import measure_lag
from manager.store.backends.sqlite import SqliteBackend
from manager.store.measurements import Measurements
from manager.store.store import Store

# Members of this group may use the API, which is as good as root on every host of the cluster.
API_GROUP = "swarm"

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
        keyring = load_keyring(self._data)
        files = ManagerFiles(self._data.path, keyring.unlock_key)
        instruments = Instruments()
        async with Store(SqliteBackend(self._data.store, keyring.seal()), self._clock, instruments.written) as store:
            await adopt_root(store, RootFiles(self._data.certificates))
            authority = Authority.stored(store.view)
            _settle_memory()
            ground = Ground(
                store=store,
                authority=authority,
                clock=self._clock,
                rng=self._rng,
                node_id=self._config.node_id,
                managers=lambda: (self._config.advertise_addr,),
                measurements=Measurements(store.view, self._clock),
                refusals=Refusals(),
                instruments=instruments,
            )
            leading = Leading(ground)
            certificate = OwnCertificate(files, authority, self._config, self._clock, self._rng)
            certificate.open(store)
            audit = AuditFile(self._data.path / "audit.log", unwritten=instruments.unwritten)
            standing = (
                *(audit.run(), certificate.keep_valid(store), store.writing(), self._notifier.keep_alive()),
                measure_lag(instruments.lagged),
            )
            async with running(*standing), leading.begin():
                await self._serve(ground, leading, certificate, audit)

    async def _serve(self, ground: Ground, leading: Leading, certificate: OwnCertificate, audit: AuditFile) -> None:
        """Answer workers and clients until the end."""
        engines = LeadersEngines(lambda: leading.dispatcher)
        api = Api(
            ground.store,
            self._clock,
            self._rng,
            engines,
            Identity(self._config.node_id, self._config.advertise_addr, version(), hosts=self._config.api_addresses()),
            ground.authority,
            audit=audit.record,
            leave=self._leave,
            measurements=ground.measurements,
            refusals=ground.refusals,
            instruments=ground.instruments,
            vitals=lambda: read_vitals(self._data, certificate.ends(), ground.authority),
        )
        reception = Reception(ground.authority, self._clock, lambda: leading.dispatcher)
        host, port = split_address(self._config.listen_addr)
        async with (
            api,
            await serve_cluster(host or None, port, certificate.cluster, reception.handle, reception.admission),
            serve_api(api, self._config.hosts, group=_existing(API_GROUP), ssl_context=certificate.api),
        ):
            cluster = ground.store.view.cluster
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
