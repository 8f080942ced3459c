"""Evening out the load in a real store: when a pass is over, and what it waits for."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from common.clock import LoopClock
from common.model import Service, TaskState
from common.model.service import Replicated, ServiceMode, ServiceSpec
from manager.loops.balancing import Balancing
from manager.schedule.load import ClusterLoad
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Decision
from manager.store.store import Store
from manager.store.transaction import Transaction
from tests.fakes.virtual_loop import run_virtual
from tests.unit.manager.schedule.worlds import node, running

MODE = ServiceMode(replicated=Replicated(replicas=4))
WEB = Service(id="s", spec=ServiceSpec(name="web", mode=MODE), rebalancing=True)


async def uneven(store: Store) -> Balancing:
    """Put all four tasks of a service on one node of two, and begin to balance."""
    tasks = [running(f"t{slot}", "a", service="s", slot=slot) for slot in range(1, 5)]
    await store.update(lambda tx: tx.apply(Decision(put=(node("a"), node("b"), WEB, *tasks))))
    balancing = Balancing(store, LoopClock())
    balancing.start_over()
    return balancing


def test_a_pass_ends_though_the_service_of_a_moving_task_went() -> None:
    """It was gone over again and again within one instant, as nothing said any more that nothing had moved."""

    async def main() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            balancing = await uneven(store)
            await balancing.step(ClusterLoad.of(store.view))
            assert [task.moving_to for task in store.view.tasks if task.moving_to] == ["b"]
            await store.update(take_down)
            balancing.due = LoopClock().now()
            steps = 0
            while balancing.due <= LoopClock().now():
                await balancing.step(ClusterLoad.of(store.view))
                steps += 1
                assert steps < 5, "it does not come to an end"
            assert [service.rebalancing for service in store.view.services] == [False]

    def take_down(tx: Transaction) -> None:
        for service in list(tx.services):
            tx.put(replace(service, pending_delete=True))
        for task in list(tx.tasks):
            tx.put(replace(task, desired_state=TaskState.REMOVE))

    run_virtual(main())


def test_a_bug_in_balancing_does_not_end_scheduling(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[object]:
        raise RuntimeError("a bug")

    async def main() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            balancing = await uneven(store)
            with monkeypatch.context() as patched:
                patched.setattr("manager.loops.balancing.next_moves", broken)
                await balancing.step(ClusterLoad.of(store.view))
            assert LoopClock().now() < balancing.due < LoopClock().now() + 60
            await balancing.step(ClusterLoad.of(store.view))
            assert [task.moving_to for task in store.view.tasks if task.moving_to] == ["b"]

    run_virtual(main())
