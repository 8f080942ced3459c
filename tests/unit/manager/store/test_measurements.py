"""What workers measured is kept of their own tasks, and only while it is fresh."""

from common.clock import LoopClock
from common.model import Service, Task
from common.model.service import ServiceSpec
from common.spec import autoscale
from common.wire.usage_messages import TaskUsage
from manager.store.measurements import Measurements
from tests.fakes.world import World


class Clock(LoopClock):
    time = 100.0

    def now(self) -> float:
        return self.time


def measurements() -> tuple[World, Clock, Measurements]:
    world, clock = World(), Clock()
    labels = {autoscale.LABEL: "min=1,max=5,cpu=50%"}
    world.put(
        Service(id="s", spec=ServiceSpec(name="web", labels=labels)), Service(id="u", spec=ServiceSpec(name="db"))
    )
    world.put(Task(id="a", service_id="s", node_id="n1"), Task(id="b", service_id="u", node_id="n1"))
    return world, clock, Measurements(world.tables, clock)


async def test_a_nodes_own_tasks_of_autoscaled_services_are_kept() -> None:
    _, _, found = measurements()
    found.take("n1", [TaskUsage(task_id="a", cpu=0.5), TaskUsage(task_id="b", cpu=0.9), TaskUsage(task_id="no", cpu=1)])
    assert list(await found.heard()) == ["s"]
    assert {task: sample.usage.cpu for task, sample in found.fresh("s", 5.0).items()} == {"a": 0.5}
    assert not found.fresh("u", 5.0)


async def test_no_node_speaks_for_anothers_task() -> None:
    _, _, found = measurements()
    found.take("n2", [TaskUsage(task_id="a", cpu=0.5)])
    assert not found.fresh("s", 5.0)


async def test_a_sample_is_out_of_date_after_three_that_did_not_come() -> None:
    _, clock, found = measurements()
    found.take("n1", [TaskUsage(task_id="a", cpu=0.5)])
    clock.time += 15.0
    assert found.fresh("s", 5.0)
    clock.time += 0.1
    assert not found.fresh("s", 5.0)
    clock.time -= 10.0
    assert not found.fresh("s", 5.0), "it is forgotten"


async def test_a_service_that_is_gone_has_no_samples() -> None:
    world, _, found = measurements()
    found.take("n1", [TaskUsage(task_id="a", cpu=0.5)])
    world.remove(Service(id="s"))
    await found.heard()
    assert not found.fresh("s", 5.0)
