"""A whole cluster of several managers in virtual time, over a model of etcd, and what happens to managers and etcd."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from common.errors import Unavailable
from common.wire.memory import MemoryChannel
from manager.loops.leadership import Candidate, Leadership
from manager.store.backend import NotLeader
from manager.store.levels import NEWEST_LEVEL, OLDEST_LEVEL, common_level
from manager.store.shared import SharedStore
from manager.store.tables import Tables
from manager.store.transaction import Transaction
from manager.store.view import View
from tests.fakes.etcd import FakeEtcd
from tests.fakes.world import replace
from tests.sim.cluster import Cluster, Leader
from tests.sim.history import History, RecordedBackend
from tests.sim.host import Host
from tests.sim.invariants import Broken

T = TypeVar("T")

# As the API waits for the next leader with what it could not send yet.
_PATIENCE = 3.0


class Replica:
    """One run of one manager, on the host of one member of etcd."""

    def __init__(self, name: str, etcd: FakeEtcd, history: History, cluster: Managers) -> None:
        loop = asyncio.get_running_loop()
        seed = f"{cluster.seed}/{name}/{cluster.restarts}"
        self.name = name
        self.backend = RecordedBackend(etcd, name, history, cluster.knows[name])
        self.store = SharedStore(self.backend, cluster.clock, loop.time)
        self.decides = Leader(self.store, self.store.clock, seed)
        candidate = Candidate(name, f"{name}:2377", "1.0")
        rng = random.Random(seed)
        self.leadership = Leadership(self.store, candidate, self.decides.leading, rng, elapsed=loop.time)
        self.running = asyncio.create_task(self._run(), name=name)

    async def _run(self) -> None:
        """Run as it does when it is started anew each time that etcd is not there to be read."""
        while True:
            try:
                await self.store.load()
                break
            except Unavailable:
                await asyncio.sleep(0.5)
        try:
            await self.leadership.run()
        finally:
            await self.store.close()

    async def stop(self, *, kill: bool) -> None:
        """End it: on purpose, so that it can hand over, or without a word."""
        if kill:
            self.backend.fall_silent()
        self.running.cancel()
        await asyncio.wait([self.running])


# As long as a leader tries to store a commit, which waits for the one before it.
STORED_WITHIN_SECONDS = 10.0


class Managers(Cluster):
    """The cluster as its operator sees it, who asks the leader. `backend` only checks what etcd stores."""

    def __init__(self, seed: int, *, heartbeat: float = 1.0, latency: float = 0.01, count: int = 3) -> None:
        super().__init__(seed, heartbeat=heartbeat, latency=latency, stored_within=STORED_WITHIN_SECONDS)
        self._rng = random.Random(f"{seed}/managers")
        self.etcd = FakeEtcd([f"manager{number}" for number in range(1, count + 1)], self._rng)
        self.history = History(self.etcd, self.backend)
        self.replicas: dict[str, Replica] = {}
        # The newest level of the store that each manager's release knows.
        self.knows = dict.fromkeys(self.etcd.members, self._rng.choice([OLDEST_LEVEL, NEWEST_LEVEL]))

    @property
    def view(self) -> View:
        """All that is stored."""
        return self.backend.mirror

    @property
    def leader(self) -> Replica | None:
        return next((each for each in self.replicas.values() if each.store.leads), None)

    async def start_manager(self) -> None:
        """Start those that do not run."""
        for name in self.etcd.members:
            if name not in self.replicas:
                self.restarts += 1
                self.replicas[name] = Replica(name, self.etcd, self.history, self)
        await asyncio.sleep(0)

    async def stop_manager(self) -> None:
        """Stop one, rather the leader."""
        names = list(self.replicas)
        if names:
            leader = self.leader
            name = leader.name if leader is not None and self._rng.random() < 0.7 else self._rng.choice(names)
            await self.replicas.pop(name).stop(kill=self._rng.random() < 0.5)

    async def repeat(self, fn: Callable[[Transaction], object]) -> None:
        while True:
            try:
                await self.update(fn)
            except Unavailable:
                await asyncio.sleep(0.1)
            else:
                return

    async def upgrade(self) -> None:
        """Have one manager of the release before run this one, and raise the level behind the last."""
        old = [name for name, newest in self.knows.items() if newest < NEWEST_LEVEL]
        if old:
            name = self._rng.choice(old)
            if name in self.replicas:
                await self.replicas.pop(name).stop(kill=self._rng.random() < 0.2)
            self.knows[name] = NEWEST_LEVEL
            await self.start_manager()
        await self.update(self._raise_level)

    def _raise_level(self, tx: Transaction) -> None:
        """Do as the leader does when all have said what they know."""
        if (level := common_level(self.knows.values())) > tx.cluster.store_level:
            tx.put(replace(tx.cluster, store_level=level))

    async def end(self) -> None:
        while self.replicas:
            await self.replicas.popitem()[1].stop(kill=True)

    async def update(self, fn: Callable[[Transaction], T]) -> T:
        """Send a change to the leader; one that could not be sent waits for the next leader."""
        end = self.clock.now() + _PATIENCE
        while True:
            try:
                return await self._leader_store().update(fn)
            except NotLeader:
                if self.clock.now() > end:
                    raise
            await asyncio.sleep(0.1)

    def _leader_store(self) -> SharedStore:
        if self.leader is None:
            raise NotLeader(None)
        return self.leader.store

    def _dial(self, host: Host) -> MemoryChannel:
        """Connect to any that takes itself for the leader, as who is wrong about that does, too."""
        leading = [each.decides for each in self.replicas.values() if each.decides.dispatcher is not None]
        if host.cut or not leading:
            raise Unavailable("no route to host")
        return self._rng.choice(leading).accept(host, self._latency)

    def check(self) -> None:
        for name, replica in self.replicas.items():
            if replica.running.done():
                replica.running.result()
                raise Broken(f"{name} ended by itself")
            tables = replica.store.view
            assert isinstance(tables, Tables)
            self.history.compare(name, tables)
        super().check()

    def _look(self) -> None:
        if self.leader is not None:
            super()._look()
