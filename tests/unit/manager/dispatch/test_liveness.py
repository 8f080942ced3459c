import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import Node
from common.model.node import NodeStatus
from manager.dispatch.liveness import RETRY_SECONDS, Arrivals, Liveness, Losses
from manager.dispatch.nodes import Down
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.fakes.virtual_loop import VirtualLoop, run_virtual


class Watcher:
    """A liveness in virtual time, and when it said which node was lost."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.heard: dict[str, float] = {}
        self.lost: list[tuple[str, float]] = []
        self.liveness = Liveness(lambda node_id: self.lost.append((node_id, round(loop.time(), 3))))

    def watch(self, node_id: str, grace: float = 3.0) -> None:
        self.heard[node_id] = self.loop.time()
        self.liveness.watch(node_id, lambda: self.heard[node_id], lambda: grace)

    def hear(self, node_id: str) -> None:
        self.heard[node_id] = self.loop.time()

    async def beat(self, node_id: str, until: float) -> None:
        while self.loop.time() < until:
            self.hear(node_id)
            await asyncio.sleep(1)


def watching(story: Callable[[Watcher], Coroutine[Any, Any, None]]) -> Watcher:
    async def main() -> Watcher:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        watcher = Watcher(loop)
        running = asyncio.create_task(watcher.liveness.run())
        await story(watcher)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return watcher

    return run_virtual(main())


def test_a_node_is_lost_three_seconds_after_its_last_heartbeat() -> None:
    async def story(watcher: Watcher) -> None:
        watcher.watch("n1")
        await asyncio.sleep(1.37)
        watcher.hear("n1")
        await asyncio.sleep(10)

    assert watching(story).lost == [("n1", 4.37)]


def test_only_a_node_without_heartbeats_is_lost_and_only_once() -> None:
    async def story(watcher: Watcher) -> None:
        watcher.watch("quiet")
        watcher.watch("alive")
        await watcher.beat("alive", until=3600)

    assert watching(story).lost == [("quiet", 3.0)]


def test_a_stall_of_the_manager_is_added_to_every_nodes_grace() -> None:
    async def story(watcher: Watcher) -> None:
        watcher.watch("n1")
        await asyncio.sleep(2)
        watcher.loop.stall(60)
        await asyncio.sleep(0.5)
        assert not watcher.lost
        watcher.hear("n1")  # what it had said meanwhile is read at last
        await asyncio.sleep(10)

    watcher = watching(story)
    (node, when), *more = watcher.lost
    assert node == "n1"
    assert not more
    assert 65.4 < when <= 65.6


def test_after_a_stall_a_dead_node_is_lost_all_the_same() -> None:
    async def story(watcher: Watcher) -> None:
        watcher.watch("dead")
        await asyncio.sleep(2.9)
        watcher.loop.stall(5)
        await asyncio.sleep(20)

    (lost,) = watching(story).lost
    assert lost[0] == "dead"
    assert 7.9 <= lost[1] <= 8.3


def test_a_new_watch_replaces_the_old_and_forgetting_ends_it() -> None:
    async def story(watcher: Watcher) -> None:
        watcher.watch("back")
        watcher.watch("gone")
        await asyncio.sleep(2)
        watcher.watch("back", grace=6.0)
        watcher.liveness.forget("gone")
        await asyncio.sleep(20)

    assert watching(story).lost == [("back", 8.0)]


def test_reconnecting_again_and_again_leaves_nothing_behind() -> None:
    async def story(watcher: Watcher) -> None:
        for _ in range(1000):
            watcher.watch("flapping")
            await asyncio.sleep(0.1)
        assert len(watcher.liveness._due) < 100

    assert watching(story).lost == []


def test_a_node_is_waited_for_until_it_arrives_or_time_is_up() -> None:
    async def story() -> dict[str, float]:
        loop = asyncio.get_running_loop()
        arrivals = Arrivals()
        waited: dict[str, float] = {}

        async def ask(name: str, node_id: str) -> None:
            began = loop.time()
            await arrivals.wait(node_id, 3.0)
            waited[name] = round(loop.time() - began, 3)

        for node_id in ("comes", "is late", "is lost"):
            arrivals.expect(node_id)
        async with asyncio.TaskGroup() as group:
            for node_id in ("comes", "is late", "is lost", "unknown"):
                group.create_task(ask(node_id, node_id))
            await asyncio.sleep(1)
            arrivals.over("comes")
            await asyncio.sleep(1)
            arrivals.expect("is late")
            group.create_task(ask("is late, again", "is late"))
            arrivals.over("is lost")
            group.create_task(ask("is lost, again", "is lost"))
        return waited

    assert run_virtual(story()) == {
        "unknown": 0.0,
        "comes": 1.0,
        "is lost": 2.0,
        "is lost, again": 0.0,
        "is late": 3.0,
        "is late, again": 3.0,
    }


def test_who_is_back_before_its_loss_is_stored_is_not_down() -> None:
    asked: list[str] = []

    class FullDisk:
        async def submit(self, write: Down) -> None:
            asked.append(write.node_id)
            raise Unavailable("no space left on device")

    async def story() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            for name in ("n1", "n2"):
                await store.update(lambda tx, name=name: tx.put(Node(id=name)))
            connected: set[str] = set()
            writes: Any = FullDisk()
            losses = Losses(store, writes, connected)
            running = asyncio.create_task(losses.run())
            losses.lost("n1")
            losses.lost("n2")
            await asyncio.sleep(0.1)
            connected.add("n1")
            await asyncio.sleep(RETRY_SECONDS)
            running.cancel()
            await asyncio.wait([running])

    run_virtual(story())
    assert asked == ["n1", "n2", "n2"]


def test_why_a_node_is_refused_is_written_once() -> None:
    written: list[Down] = []

    class Writes:
        async def submit(self, write: Down) -> None:
            written.append(write)

    async def story() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            writes: Any = Writes()
            losses = Losses(store, writes, ())
            ready, down = (Node(id="n1", status=NodeStatus(state=state)) for state in ("ready", "down"))
            await losses.refused(ready, "too old")
            assert written == [], "its loss will tell"
            await losses.refused(down, "too old")
            await losses.refused(Node(id="n1", status=NodeStatus(state="down", message="too old")), "too old")

    run_virtual(story())
    assert written == [Down("n1", "too old")]
