"""One manager after the other leads: at a start, after a silence, after a hand-over, after an error."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from common.clock import LoopClock
from common.model import Service
from common.model.service import ServiceSpec
from manager.loops.leadership import Candidate, Leadership
from manager.store.backend import NotLeader, SharedBackend, Unknown
from manager.store.backends.etcd.backend import EtcdBackend
from manager.store.backends.sealed import Unsealed
from manager.store.shared import SharedStore
from manager.store.transaction import Transaction
from tests.fakes.etcd import FakeEtcd, Faults
from tests.fakes.shared_log import LogBackend, SharedLog
from tests.fakes.virtual_loop import VirtualLoop, run_virtual


def put(name: str) -> Callable[[Transaction], None]:
    return lambda tx: tx.put(Service(id=name, spec=ServiceSpec(name=name)))


class Manager:
    """A manager that only leads; `log` has what it did, by everyone's time."""

    def __init__(self, name: str, backend: SharedBackend, log: list[tuple[str, str, float]]) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.backend = backend
        self.store = SharedStore(backend, LoopClock(), loop.time)
        self.error: Exception | None = None
        self._log = log
        candidate = Candidate(name, f"{name}:2377", "1.0")
        self.leadership = Leadership(self.store, candidate, self._leading, random.Random(name), elapsed=loop.time)

    @contextlib.asynccontextmanager
    async def _leading(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        self._log.append((self.name, "leads", loop.time()))
        try:
            if self.error is not None:
                raise self.error
            yield
        finally:
            self._log.append((self.name, "ends", loop.time()))

    async def run(self) -> None:
        async with self.store:
            await self.leadership.run()


Log = list[tuple[str, str, float]]


def living(story: Callable[[list[Manager], list[asyncio.Task[None]], Log], Coroutine[Any, Any, None]]) -> Log:
    """Run a story of three managers, and return who led when."""
    log: Log = []

    async def world() -> None:
        storage = SharedLog()
        managers = [Manager(name, LogBackend(storage), log) for name in ("one", "two", "three")]
        running = [asyncio.create_task(each.run()) for each in managers]
        try:
            await asyncio.sleep(0.2)
            await story(managers, running, log)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    run_virtual(world())
    return log


def log_of(manager: Manager) -> LogBackend:
    assert isinstance(manager.backend, LogBackend)
    return manager.backend


def leader(managers: list[Manager]) -> Manager:
    (found,) = [each for each in managers if each.store.leads]
    return found


def test_one_of_them_leads_from_the_start_and_stays() -> None:
    async def story(managers: list[Manager], _: object, log: Log) -> None:
        await leader(managers).store.update(put("web"))
        await asyncio.sleep(60.0)
        assert len(log) == 1
        assert all(len(each.store.view.services) == 1 for each in managers)
        assert {each.store.leader for each in managers} == {leader(managers).store.record}

    living(story)


def test_a_leader_that_falls_silent_is_replaced() -> None:
    async def story(managers: list[Manager], _: object, log: Log) -> None:
        first = leader(managers)
        await first.store.update(put("web"))
        backend = log_of(first)
        backend.gate.clear()
        hung = asyncio.create_task(first.store.update(put("lost")))
        silent_since = asyncio.get_running_loop().time()
        await asyncio.sleep(1.2)
        with pytest.raises(NotLeader):
            first.leadership.index()
        assert len(log) == 1, "the first answers no more before a second may lead"
        await asyncio.sleep(0.9)
        second = leader(managers)
        assert second is not first
        leads, ends = log[1:]
        assert leads[:2] == (second.name, "leads")
        assert ends[:2] == (first.name, "ends")
        assert leads[2] <= silent_since + 1.7
        assert ends[2] <= silent_since + 2.1
        with pytest.raises(Exception, match="look, then repeat"):
            await hung
        backend.gate.set()
        await second.store.update(put("db"))
        await first.store.reached(2)
        assert first.store.epoch == second.store.epoch

    living(story)


def test_a_leader_that_stops_hands_over_at_once() -> None:
    async def story(managers: list[Manager], running: list[asyncio.Task[None]], log: Log) -> None:
        first = leader(managers)
        index = managers.index(first)
        stopped_at = asyncio.get_running_loop().time()
        running[index].cancel()
        await asyncio.wait([running[index]])
        await asyncio.sleep(0.01)
        assert leader(managers) is not first
        assert log[-1][2] - stopped_at < 0.01

    living(story)


def test_a_leader_that_hands_over_follows_the_next() -> None:
    async def story(managers: list[Manager], _: object, log: Log) -> None:
        first = leader(managers)
        first.leadership.hand_over()
        for each in managers:
            each.leadership.hand_over()  # who does not lead has nothing to hand over
        await asyncio.sleep(10.0)
        assert leader(managers) is not first
        assert [what for _, what, _ in log] == ["leads", "ends", "leads"]

    living(story)


def test_a_lone_manager_leads_again_after_it_handed_over() -> None:
    async def story(managers: list[Manager], running: list[asyncio.Task[None]], _: Log) -> None:
        last = leader(managers)
        for each, task in zip(managers, running, strict=True):
            if each is not last:
                task.cancel()
        last.leadership.hand_over()
        await asyncio.sleep(0.5)
        assert not last.store.leads
        await asyncio.sleep(1.5)
        assert last.store.leads

    living(story)


def test_an_error_of_what_leads_leaves_it_to_the_others() -> None:
    async def story(managers: list[Manager], running: list[asyncio.Task[None]], _: Log) -> None:
        first = leader(managers)
        for each in managers:
            each.error = None if each is first else RuntimeError("cannot lead")
        first.leadership.hand_over()
        await asyncio.sleep(10.0)
        assert leader(managers) is first
        failed = [task for task in running if task.done()]
        assert failed
        for task in failed:
            with pytest.raises(RuntimeError, match="cannot lead"):
                task.result()

    living(story)


def test_only_a_leader_that_is_confirmed_says_what_is_current() -> None:
    async def story(managers: list[Manager], _: object, __: Log) -> None:
        first = leader(managers)
        await first.store.update(put("web"))
        assert first.leadership.index() == 1
        other = next(each for each in managers if each is not first)
        with pytest.raises(NotLeader, match=f"ask the leader at {first.name}:2377"):
            other.leadership.index()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.stall(1.3)
        with pytest.raises(NotLeader, match="no manager leads"):
            first.leadership.index()

    living(story)


def test_a_commit_without_an_answer_ends_the_leadership() -> None:
    async def story(managers: list[Manager], _: object, log: Log) -> None:
        first = leader(managers)
        log_of(first).failure = Unknown("may or may not be stored")
        with pytest.raises(Unknown):
            await first.store.update(put("web"))
        await asyncio.sleep(5.0)
        assert leader(managers) is not first
        assert [what for _, what, _ in log] == ["leads", "ends", "leads"]

    living(story)


def test_a_commit_that_takes_long_does_not_cost_the_lead() -> None:
    """As where a large service is deployed on a slow machine."""

    async def world() -> None:
        etcd = FakeEtcd(("a", "b", "c"), random.Random(1))
        log: Log = []
        managers = [Manager(name, EtcdBackend(etcd.client(name), "c1", Unsealed()), log) for name in etcd.members]
        running = [asyncio.create_task(each.run()) for each in managers]
        await asyncio.sleep(0.2)
        first = leader(managers)
        etcd.faults = Faults(delay=0.01, lag=0.01, slow=0.006)

        def deploy(tx: Transaction) -> None:
            for number in range(500):
                put(str(number))(tx)

        deployed = asyncio.create_task(first.store.update(deploy))
        await asyncio.sleep(2.0)
        assert not deployed.done()
        with pytest.raises(NotLeader):  # nobody is told that a state is the newest which may not be
            first.leadership.index()
        sure_again = asyncio.create_task(first.store.heard())
        await deployed
        await sure_again
        assert first.leadership.index() == 1
        await asyncio.sleep(5.0)
        assert [what for _, what, _ in log] == ["leads"]
        assert all(len(each.store.view.services) == 500 for each in managers)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    run_virtual(world())
