"""How a host is made a manager where its worker cannot be told at once, and what becomes of one that never comes."""

import asyncio
import math
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import msgspec

from common.clock import LoopClock
from common.errors import FailedPrecondition, Unavailable
from common.model import Node
from common.model.node import ManagerStatus, NodeSpec, NodeStatus
from common.wire.manager_messages import BecomeManager
from manager.daemon.newcomers import COME_SECONDS, AwaitedManagers, Promotions
from manager.dispatch.manager_membership import TICKET_SECONDS
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.fakes.virtual_loop import run_virtual


class Workers:
    """The node's worker: it fails with an error until an instant of the loop's time."""

    def __init__(self, error: Exception, until: float) -> None:
        self._error = error
        self._until = until
        self.told_at: list[float] = []
        self.given_up: list[tuple[float, str]] = []

    async def promote(self, node_id: str, message: BecomeManager) -> None:
        assert (node_id, message.addr, message.ticket) == ("w", "192.0.2.7", "ticket of w")
        now = asyncio.get_running_loop().time()
        if now < self._until:
            raise self._error
        self.told_at.append(now)

    async def give_up(self, _: str, why: str) -> None:
        self.given_up.append((asyncio.get_running_loop().time(), why))


async def promote_for(workers: Workers, seconds: float) -> None:
    """Let a leader promote the node for so long; nobody joins."""
    node = Node(id="w", spec=NodeSpec(role="manager"), status=NodeStatus(state="ready", addr="192.0.2.7"))
    membership: Any = SimpleNamespace(ticket=lambda node_id: f"ticket of {node_id}", give_up=workers.give_up)
    async with Store(MemoryBackend(), LoopClock()) as store:
        await store.update(lambda tx: tx.put(node))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await Promotions(store, membership, workers.promote).run()


def test_a_worker_that_is_not_back_yet_is_told_when_it_is() -> None:
    workers = Workers(Unavailable("the worker of node w is not connected"), until=7)
    run_virtual(promote_for(workers, TICKET_SECONDS - 5))
    assert len(workers.told_at) == 1
    assert 7 <= workers.told_at[0] < 9
    assert workers.given_up == []


def test_a_worker_that_stays_away_or_does_not_join_is_given_up() -> None:
    away = Workers(Unavailable("the worker of node w is not connected"), until=math.inf)
    run_virtual(promote_for(away, TICKET_SECONDS + 1.5))
    idle = Workers(Unavailable(""), until=0)
    run_virtual(promote_for(idle, TICKET_SECONDS + 1.5))
    for each, why in (
        (away, "the worker of node w is not connected"),
        (idle, "has not joined as a manager within 60 s"),
    ):
        assert why in each.given_up[0][1]
        assert each.given_up[0][0] > TICKET_SECONDS


def test_a_worker_that_never_can_is_given_up_at_once() -> None:
    workers = Workers(FailedPrecondition("of a release before this one"), until=math.inf)
    run_virtual(promote_for(workers, 0.5))
    assert workers.given_up == [(0.0, "it cannot become a manager: of a release before this one")]


class Awaited:
    """A leader that awaits a manager, m2, whose link comes up at an instant of the loop's time."""

    def __init__(self, comes_at: float) -> None:
        self._comes_at = comes_at
        self.came: list[float] = []
        self.taken_back: list[float] = []

    def reachable(self, node_id: str) -> bool:
        return node_id == "m1" or asyncio.get_running_loop().time() >= self._comes_at

    async def run(self, seconds: float) -> None:
        status = ManagerStatus(awaited=True)
        node = Node(id="m2", spec=NodeSpec(role="manager"), manager_status=status, etcd_addr="192.0.2.7:2380")
        now = asyncio.get_running_loop().time

        async def record_arrival(node_ids: set[str]) -> None:
            assert node_ids == {"m2"}
            self.came.append(now())
            await store.update(lambda tx: tx.put(msgspec.structs.replace(node, manager_status=ManagerStatus())))

        async def take_back(node_id: str, why: str) -> None:
            assert (node_id, "not heard of within 120 s" in why) == ("m2", True)
            self.taken_back.append(now())
            await store.update(lambda tx: tx.remove(node))

        membership: Any = SimpleNamespace(record_arrival=record_arrival, take_back=take_back)
        async with Store(MemoryBackend(), LoopClock()) as store:
            await store.update(lambda tx: tx.put(node))
            known: Any = SimpleNamespace(moved=asyncio.Event().wait)
            links: Any = SimpleNamespace(reachable=self.reachable, moved=asyncio.Event().wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await AwaitedManagers(store, membership, known, links).run()


def test_a_manager_that_never_comes_is_taken_back() -> None:
    leader = Awaited(math.inf)
    run_virtual(leader.run(COME_SECONDS + 5))
    assert (leader.came, len(leader.taken_back)) == ([], 1)
    assert COME_SECONDS <= leader.taken_back[0] < COME_SECONDS + 2


def test_a_manager_that_has_come_is_awaited_no_more() -> None:
    leader = Awaited(7.0)
    run_virtual(leader.run(3 * COME_SECONDS))
    assert (len(leader.came), leader.taken_back) == (1, [])
    assert 7 <= leader.came[0] < 9
