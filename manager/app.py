"""The manager daemon: builds the pieces from the data directory, wires them, runs them. No logic."""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import random
import signal
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from common.aio.first import first_of
from common.aio.steady import keep_going
from common.clock import Clock, SystemClock
from common.process.daemon import Notifier
from common.process.memory import settle_memory
from common.process.private_files import lock_folder
from common.version import version
from common.wire.server import serve as serve_cluster
from manager.api.access.audit_file import AuditFile
from manager.api.app import Api
from manager.api.context import Identity, Telemetry, ThisManager
from manager.api.http.server import serve as serve_api
from manager.api.http.server import serve_passed_on
from manager.api.leader.quorum import Quorum, SingleManager
from manager.ca.authority import Authority
from manager.ca.files import RootFiles
from manager.ca.migration import adopt_root
from manager.config import DataDir, ManagerConfig, split_address
from manager.daemon.certificate import OwnCertificate, RootSteps
from manager.daemon.etcd_maintenance import EtcdMaintenance
from manager.daemon.keys import ManagerKeys
from manager.daemon.leader import Core, LeaderEngines, LeaderParts, running
from manager.daemon.locked import ApiSwitch, answer_locked
from manager.daemon.peers import ManagerPeers
from manager.daemon.replicated_manager import ReplicatedManager
from manager.daemon.shared_dashboard import serve_dashboard
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.etcd import Etcd, etcd_of
from manager.loops.leadership import Candidate, Leadership
from manager.metrics.facts import read_vitals
from manager.metrics.instruments import Instruments, measure_lag
from manager.metrics.soft_state import SoftState
from manager.store.backends.etcd.members import Members
from manager.store.backends.etcd.process import RemovedMember
from manager.store.backends.sqlite import SqliteBackend
from manager.store.shared import SharedStore
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
        self._left = self._removed = False
        self._instruments = Instruments()
        self._audit = AuditFile(data.path / "audit.log", unwritten=self._instruments.unwritten)
        self._keys = ManagerKeys(data)
        # What a manager that was locked answers its unix sockets with.
        self._front: ApiSwitch | None = None

    def stop(self) -> None:
        self._ended.set()

    async def run(self) -> bool:
        """Serve the cluster; return whether it has been left, or this manager was removed from it.

        Raises:
            SwarmError: a file, an address or the store cannot be had; the message says which. Of a manager that was
                locked it may be in a group.

        """
        try:
            if self._keys.load():
                await self._manage()
            else:
                await self._begin_locked()
        finally:
            if self._left:
                self._data.clear()
        return self._left or self._removed

    async def _begin_locked(self) -> None:
        """Wait until this manager is unlocked, or is to stop before."""
        sockets = [host for host in self._config.hosts if host.startswith("unix://")]
        locked = answer_locked(
            ThisManager(identity=self._identity(), leave=self._leave, keys=self._keys),
            self._audit,
            self._clock,
            self._rng,
            sockets=sockets,
            group=_name_if_exists(API_GROUP),
        )
        async with locked as self._front:
            async with running(self._audit.run(), self._notifier.keep_alive()):
                self._notifier.ready("locked: waiting for 'swarm-manager unlock'")
                await first_of(self._keys.opened(), self._ended.wait())
            if not self._ended.is_set():
                await self._manage()

    def _identity(self) -> Identity:
        hosts, dashboards = self._config.api_addresses(), self._config.dashboard_addresses()
        return Identity(
            self._config.node_id, self._config.advertise_addr, version(), hosts=hosts, dashboards=dashboards
        )

    async def _manage(self) -> None:
        if self._config.etcd is None:
            await self._manage_alone()
        else:
            await self._manage_with_others()

    async def _manage_alone(self) -> None:
        """Manage from a store that is a file: this manager leads from its start to its end."""
        backend = SqliteBackend(self._data.store, self._keys.keyring.seal())
        async with Store(backend, self._clock, self._instruments.written) as store:
            await adopt_root(store, RootFiles(self._data.certificates))
            core = self._core(store)
            leader = LeaderParts(core)
            certificate = self._certificate(core)
            certificate.open(store)
            background = (*self._background(core, certificate), certificate.follow_authority(store))
            async with running(*background), leader.begin((store.view.cluster.generation, 0)):
                await self._serve(core, leader, certificate)

    async def _manage_with_others(self) -> None:
        """Manage from a store that several managers share: one leads, the others follow."""
        lock = lock_folder(self._data.path)  # a store that is a file locks it, too
        try:
            await self._manage_in_etcd()
        finally:
            os.close(lock)

    async def _manage_in_etcd(self) -> None:
        own = etcd_of(self._data, self._config, self._keys.keyring.seal(), self._clock, self._rng)
        own.prepare()
        try:
            await self._open_shared_store(own)
        except* RemovedMember:
            _log.error(
                "this manager was removed from its cluster: it stops, and must not run again; remove %s, then it can "
                "join anew",
                self._data.path,
            )
            self._removed = True

    async def _open_shared_store(self, own: Etcd) -> None:
        async with own.running():
            report_waiting = partial(self._notifier.ready, "waiting for the other managers")
            async with running(self._notifier.keep_alive()):
                await first_of(own.ready(report_waiting), self._ended.wait())
            if self._ended.is_set():
                return
            async with SharedStore(own.backend(), self._clock) as store:
                await self._follow_and_lead(own, store)

    async def _follow_and_lead(self, own: Etcd, store: SharedStore) -> None:
        core = self._core(store)
        own.keep_root(next(iter(store.view.root_keys)))
        client = own.client()
        members = own.members(client)
        certificate = self._certificate(core)
        replicated = ReplicatedManager(
            core,
            store,
            self._keys,
            members,
            dialling=lambda: certificate.dialling,
            own=certificate.identity,
        )
        certificate.signed_by(replicated.peers.renew)
        certificate.open(store)
        addr, generation = self._config.advertise_addr, store.view.cluster.generation
        candidate = Candidate(self._config.node_id, addr, version(), generation)
        replicated.peers.leadership = Leadership(store, candidate, replicated.begin, self._rng, timeouts=own.timeouts)
        try:
            steps = RootSteps(store, own, certificate, replicated.peers, self._config.node_id)
            background = [keep_going("the steps of the authority", steps.run), own.keep_valid(core.authority)]
            if isinstance(members, Members):
                background.append(self._maintain_etcd(members, replicated.peers))
            async with running(*self._background(core, certificate), *background):
                await self._serve(core, replicated.leader, certificate, replicated)
        finally:
            await client.close()

    def _maintain_etcd(self, members: Members, peers: ManagerPeers) -> Coroutine[Any, Any, None]:
        """Return the background work that maintains this manager's own etcd."""
        hand_over = peers.leadership.hand_over
        maintenance = EtcdMaintenance(members, lambda: peers.could_hand_over, hand_over, self._rng)
        peers.trouble_of_etcd = lambda: maintenance.trouble
        return keep_going("etcd", maintenance.run)

    def _core(self, store: Store) -> Core:
        settle_memory()
        return Core(
            store=store,
            authority=Authority.stored(store.view),
            clock=store.clock,
            rng=self._rng,
            node_id=self._config.node_id,
            managers=KnownManagers(store, self._config.advertise_addr),
            soft=SoftState.new(store.view, self._clock, self._instruments.assigned),
            instruments=self._instruments,
        )

    def _certificate(self, core: Core) -> OwnCertificate:
        return OwnCertificate(lambda: self._keys.files, core.authority, self._config, self._clock, self._rng)

    def _background(self, core: Core, certificate: OwnCertificate) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return the background work that goes on whoever leads."""
        return (
            self._audit.run(),
            certificate.keep_valid(core.store),
            self._notifier.keep_alive(),
            self._keys.follow(core.store),
            core.managers.run(),
            measure_lag(self._instruments.lagged),
        )

    async def _serve(
        self, core: Core, leader: LeaderParts, certificate: OwnCertificate, replicated: ReplicatedManager | None = None
    ) -> None:
        """Answer workers, clients and other managers until the end."""
        peers = replicated.peers if replicated is not None else None
        api = self._api(core, leader, certificate, peers or SingleManager())
        hosts = [host for host in self._config.hosts if self._front is None or not host.startswith("unix://")]
        reception = Reception(core.authority, self._clock, lambda: leader.dispatcher, peers)
        host, port = split_address(self._config.listen_addr)
        async with api, serve_passed_on(api) as protocol:
            if peers is not None:
                peers.protocol = protocol
            async with (
                await serve_cluster(host or None, port, certificate.cluster, reception.handle, reception.admission),
                serve_api(api, hosts, group=_name_if_exists(API_GROUP), ssl_context=certificate.api),
                serve_dashboard(self._config.dashboard, api, certificate.dashboard, self._clock),
                running(*(self._replication(replicated) if replicated is not None else ())),
            ):
                cluster = core.store.view.cluster
                if self._front is not None:
                    self._front.present = api
                self._keys.serve()
                self._ready()
                self._notifier.ready(f"managing cluster {cluster.id}")
                _log.info("manager %s of cluster %s is ready", self._config.node_id, cluster.id)
                await self._ended.wait()
                self._notifier.stopping()

    def _replication(self, replicated: ReplicatedManager) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return the work of one manager of several: it follows and leads, and leaves when it is demoted."""
        return replicated.run(), self._leave_when(replicated.demoted())

    def _api(self, core: Core, leader: LeaderParts, certificate: OwnCertificate, quorum: Quorum) -> Api:
        return Api(
            core.store,
            self._clock,
            self._rng,
            LeaderEngines(lambda: leader.dispatcher),
            core.authority,
            ThisManager(identity=self._identity(), leave=self._leave, keys=self._keys, quorum=quorum),
            self._audit,
            telemetry=Telemetry(
                soft=core.soft,
                instruments=core.instruments,
                vitals=lambda: read_vitals(self._data, certificate.identity(), core.authority),
            ),
            load=lambda: leader.load,
        )

    async def _leave(self) -> None:
        """Cease to manage: the daemon stops, is not started again, and its files go when it has stopped."""
        _log.warning("leaving: what this manager has of its cluster is removed from %s", self._data.path)
        self._left = True
        self._data.forget()
        self.stop()

    async def _leave_when(self, demoted: Coroutine[Any, Any, None]) -> None:
        await demoted
        _log.warning("this node is no longer a manager of the cluster")
        await self._leave()


def _name_if_exists(group: str) -> str:
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
