"""When the level of a shared store rises: not before every manager has said that it knows the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from common.clock import LoopClock
from common.model import Cluster, Node, StoredObject
from common.model.node import ManagerStatus, NodeSpec
from common.wire.manager_messages import LinkWelcome
from manager.daemon.replicated_manager import LevelUpgrade
from manager.dispatch.links import Links
from manager.dispatch.managers import KnownManagers
from manager.store.backends.memory import MemoryBackend
from manager.store.levels import NEWEST_LEVEL, common_level
from manager.store.store import Store
from tests.fakes.virtual_loop import run_virtual


class FakeLinks:
    """Links of which it is set what the other managers have said."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self._moved = asyncio.Event()

    def welcome_of(self, node_id: str) -> LinkWelcome | None:
        newest = self.newest.get(node_id)
        if newest is None:
            return None
        return LinkWelcome(protocol=1, release="1", clock=0.0, levels=(1, newest), epoch=(0, 1))

    def moved(self) -> Coroutine[Any, Any, object]:
        return self._moved.wait()

    def say(self, node_id: str, newest: int) -> None:
        self.newest[node_id] = newest
        self._moved.set()
        self._moved = asyncio.Event()


def manager(node_id: str) -> Node:
    return Node(id=node_id, spec=NodeSpec(role="manager"), manager_status=ManagerStatus(addr=f"{node_id}:2377"))


def test_the_level_is_the_newest_that_all_know() -> None:
    assert common_level((2, 2, 3)) == 2
    assert common_level((2, None, 3)) == 1
    assert common_level(()) == 1


def test_the_level_rises_when_the_last_manager_knows_it() -> None:
    async def story() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            stored: list[StoredObject] = [Cluster(id="c1"), *(manager(name) for name in ("m1", "m2", "m3"))]
            await store.update(lambda tx: [tx.put(each) for each in stored])
            known, links = KnownManagers(store, ""), FakeLinks()
            running = [
                asyncio.create_task(known.run()),
                asyncio.create_task(LevelUpgrade(store, known, cast("Links", links), "m1").run()),
            ]
            for node_id, newest, level in (("m2", NEWEST_LEVEL, 1), ("m3", 1, 1), ("m3", NEWEST_LEVEL, NEWEST_LEVEL)):
                links.say(node_id, newest)
                await asyncio.sleep(1)
                assert store.view.cluster.store_level == level
            assert running[1].done()
            running[0].cancel()

    run_virtual(story())


def test_an_old_manager_that_goes_is_not_waited_for() -> None:
    async def story() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            await store.update(lambda tx: [tx.put(each) for each in (Cluster(id="c1"), manager("m1"), manager("m2"))])
            known, links = KnownManagers(store, ""), FakeLinks()
            links.say("m2", 1)
            running = [
                asyncio.create_task(known.run()),
                asyncio.create_task(LevelUpgrade(store, known, cast("Links", links), "m1").run()),
            ]
            await asyncio.sleep(1)
            assert store.view.cluster.store_level == 1
            await store.update(lambda tx: tx.remove(manager("m2")))
            await asyncio.sleep(1)
            assert store.view.cluster.store_level == NEWEST_LEVEL
            running[0].cancel()

    run_virtual(story())
