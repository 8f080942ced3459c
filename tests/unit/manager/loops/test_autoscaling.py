"""The loop around autoscaling; what it decides is tested in tests/unit/manager/orchestrate and tests/sim."""

from __future__ import annotations

import asyncio

import pytest

from common.clock import LoopClock
from common.model import Service, Task
from common.model.service import ServiceSpec
from common.spec import autoscale
from common.spec.autoscale import Policy
from common.wire.usage_messages import TaskUsage
from manager.loops import autoscaling
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Decision
from manager.store.measurements import Measurements
from manager.store.store import Store
from tests.fakes.virtual_loop import run_virtual

LABELS = {autoscale.LABEL: "min=1,max=3,cpu=50%"}


def test_a_bug_with_one_service_is_not_the_end_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def broken(service: Service, _policy: Policy, *_: object) -> tuple[()]:
        looked.append(service.id)
        if service.id == "bad":
            raise RuntimeError("a bug")
        return ()

    monkeypatch.setattr(autoscaling, "measure", broken)

    async def main() -> None:
        services = [Service(id=name, spec=ServiceSpec(name=name, labels=LABELS)) for name in ("bad", "good")]
        tasks = [Task(id=f"t-{each.id}", service_id=each.id, node_id="n1") for each in services]
        async with Store(MemoryBackend(), LoopClock()) as store:
            await store.update(lambda tx: tx.apply(Decision(put=(*services, *tasks))))
            measurements = Measurements(store.view, LoopClock())
            loop = asyncio.create_task(autoscaling.Autoscaling(store, measurements, LoopClock()).run())
            measurements.take("n1", [TaskUsage(task_id=task.id) for task in tasks])
            await asyncio.sleep(1)
            assert not loop.done()
            loop.cancel()
        assert looked == ["bad", "good"]

    run_virtual(main())
