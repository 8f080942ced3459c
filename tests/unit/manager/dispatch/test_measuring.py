"""Who is told to measure what, and what becomes of what they say."""

from __future__ import annotations

import asyncio

import pytest

from common.model import Service, Task, TaskState, TaskStatus
from common.model.node import ClockOffset, NodeDescription
from common.model.service import Replicated, ServiceMode, ServiceSpec
from common.spec import autoscale
from common.wire.messages import Heartbeat, HeartbeatAck
from common.wire.usage_messages import Gauge, HostUsage, Measure, MeasureHost, Scrape, TaskUsage, Usage
from manager.overview.usage import USAGE_LABEL
from tests.fakes.dispatching import Manager, Worker
from tests.fakes.virtual_loop import run_virtual
from tests.fakes.world import replace

METRIC = "min=1,max=5,metric=jobs,port=9100,path=/m,target=4,up=4s"


def service(policy: str = "") -> Service:
    labels = {autoscale.LABEL: policy} if policy else {}
    return Service(
        id="s1", spec=ServiceSpec(name="web", labels=labels, mode=ServiceMode(replicated=Replicated(replicas=2)))
    )


def task(task_id: str, node_id: str, state: TaskState = TaskState.RUNNING) -> Task:
    status = TaskStatus(state=state)
    return Task(id=task_id, node_id=node_id, service_id="s1", status=status, desired_state=TaskState.RUNNING)


async def test_a_node_is_told_when_what_it_is_to_measure_changes(manager: Manager) -> None:
    """When a task comes, when the label changes though no task does, when the last task goes."""
    worker = await manager.session("n1")
    await manager.put(service(METRIC), task("t2", "n2"))
    await manager.put(task("t1", "n1"))
    gauge = Gauge(service_id="s1", interval=2.0, metric=Scrape(name="jobs", port=9100, path="/m"))
    assert await worker.expect(Measure) == Measure(gauges=(gauge,))
    await manager.put(service("min=1,max=5,cpu=50%,memory=50%"))
    expected = Gauge(service_id="s1", interval=5.0, cpu=True, memory=True)
    assert await worker.expect(Measure) == Measure(gauges=(expected,))
    await manager.put(service())
    assert await worker.expect(Measure) == Measure()
    await manager.put(service(METRIC))
    assert await worker.expect(Measure) == Measure(gauges=(gauge,))
    await manager.remove(task("t1", "n1"))
    assert await worker.expect(Measure) == Measure()


async def test_a_service_is_measured_while_it_is_looked_at(manager: Manager) -> None:
    worker, other = await manager.session("n1"), await manager.session("n2")
    await manager.put(service(), task("t1", "n1"))
    usages = manager.dispatcher.soft.usages
    usages.ask("s1", manager.clock.now())
    gauge = Gauge(service_id="s1", interval=10.0, cpu=True, memory=True)
    assert await worker.expect(Measure) == Measure(gauges=(gauge,))
    await worker.say(Usage(tasks=(TaskUsage(task_id="t1", cpu=0.5, memory=7.0), TaskUsage(task_id="t2", cpu=9.0))), 7)
    await worker.say(Heartbeat(), 8)
    await worker.expect(HeartbeatAck, 8)
    assert {task_id: sample.cpu for task_id, sample in usages.tasks("s1", manager.clock.now()).items()} == {"t1": 0.5}
    await other.say(Heartbeat(), 9)
    await other.expect(HeartbeatAck, 9)


async def test_all_services_are_measured_while_the_cluster_says_so(manager: Manager) -> None:
    worker = await manager.session("n1")
    await manager.put(service(), task("t1", "n1"))
    cluster = manager.store.view.cluster
    labelled = replace(cluster, spec=replace(cluster.spec, labels={USAGE_LABEL: "services"}))
    await manager.put(labelled)
    gauge = Gauge(service_id="s1", interval=10.0, cpu=True, memory=True)
    assert await worker.expect(Measure) == Measure(gauges=(gauge,))
    await manager.put(replace(labelled, spec=replace(cluster.spec, labels={})))
    assert await worker.expect(Measure) == Measure()


async def test_a_host_is_measured_by_workers_that_can(manager: Manager) -> None:
    await manager.node("n1")
    worker = manager.dial("n1")
    await worker.hello(description=NodeDescription(hostname="host", measures=True))
    assert await worker.expect(MeasureHost) == MeasureHost(interval=10.0)
    await worker.say(HostUsage(cpu=0.5, memory_total=8, memory_available=2, disk_total=-1))
    await worker.say(Heartbeat(), 5)
    await worker.expect(HeartbeatAck, 5)
    sample = manager.dispatcher.soft.usages.host("n1", manager.clock.now())
    assert sample is not None
    assert (sample.usage.cpu, sample.usage.memory_available, sample.usage.disk_total) == (0.5, 2, 0)


async def say_clock(manager: Manager, worker: Worker, offset: float, times: int = 3) -> None:
    for _ in range(times):
        await worker.say(HostUsage(clock=manager.clock.now() + offset))
        await live(worker)


async def live(worker: Worker) -> None:
    """Let ten seconds pass in which the worker gives signs of life."""
    for number in range(10, 20):
        await worker.say(Heartbeat(), number)
        await worker.expect(HeartbeatAck, number)
        await asyncio.sleep(1.0)


def test_a_clock_that_is_off_is_in_the_nodes_record() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            await manager.node("n1")
            worker = manager.dial("n1")
            await worker.hello(description=NodeDescription(hostname="host", measures=True, clock=True))
            assert await worker.expect(MeasureHost) == MeasureHost(interval=10.0, clock=True)
            began = manager.clock.now()
            await say_clock(manager, worker, -720.0, 1)
            assert manager.store.view.nodes.get("n1").clock_offset is None  # type: ignore[union-attr]
            await say_clock(manager, worker, -720.0)
            found = manager.store.view.nodes.get("n1").clock_offset  # type: ignore[union-attr]
            assert found is not None
            assert found.seconds == -720
            assert began < found.since < manager.clock.now()
            contact = manager.dispatcher.soft.contacts.of({"n1"}, 0.0)["n1"]
            assert contact.clock_offset == pytest.approx(-720.0)
            worker = manager.dial("n1")
            await worker.hello(description=NodeDescription(hostname="host", measures=True, clock=True))
            assert manager.store.view.nodes.get("n1").clock_offset == found, "a new session mends no clock"  # type: ignore[union-attr]
            await say_clock(manager, worker, 0.5)
            assert manager.store.view.nodes.get("n1").clock_offset is None  # type: ignore[union-attr]

    run_virtual(story())


async def test_a_worker_that_says_no_clock_has_none_that_is_off(manager: Manager) -> None:
    """One of an earlier release took the place of another: nothing is known of its clock."""
    off = ClockOffset(seconds=-720, since=1.0)
    await manager.node("n1")
    await manager.put(replace(manager.store.view.nodes.get("n1"), clock_offset=off))  # type: ignore[arg-type]
    worker = manager.dial("n1")
    await worker.hello(description=NodeDescription(hostname="host", measures=True))
    assert await worker.expect(MeasureHost) == MeasureHost(interval=10.0)
    assert manager.store.view.nodes.get("n1").clock_offset is None  # type: ignore[union-attr]


def test_a_clock_that_shows_no_time_says_nothing() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            for clock in (float("nan"), float("inf"), -5.0, 1e300):
                for _ in range(4):
                    await worker.say(HostUsage(clock=clock))
                    await live(worker)
            assert manager.store.view.nodes.get("n1").clock_offset is None  # type: ignore[union-attr]
            (refused,) = manager.dispatcher.soft.refusals.of("n1")
            assert "not a time" in refused.reason

    run_virtual(story())


async def test_a_new_session_is_told_again_and_other_nodes_nothing(manager: Manager) -> None:
    await manager.put(service(METRIC), task("t1", "n1"))
    for _ in range(2):
        worker = await manager.session("n1")
        assert [gauge.service_id for gauge in (await worker.expect(Measure)).gauges] == ["s1"]
    other = await manager.session("n2")
    await other.say(Heartbeat(), 5)
    await other.expect(HeartbeatAck, 5)
    assert not autoscale.of(service().spec)


async def test_measurements_of_its_own_tasks_are_kept_until_old(manager: Manager) -> None:
    await manager.put(service(METRIC), task("t1", "n1"), task("t2", "n2"))
    worker = await manager.session("n1")
    measurements = manager.dispatcher.soft.measurements
    await worker.say(Usage(tasks=(TaskUsage(task_id="t1", metric=3.0), TaskUsage(task_id="t2", metric=9.0))))
    assert list(await measurements.heard()) == ["s1"]
    assert {i: s.usage.metric for i, s in measurements.fresh("s1", 2.0).items()} == {"t1": 3.0}
    assert not measurements.fresh("s1", -1.0), "older than it may be"


async def test_scaling_does_not_change_what_is_measured(manager: Manager) -> None:
    await manager.put(service(METRIC), task("t1", "n1"))
    worker = await manager.session("n1")
    await worker.expect(Measure)
    found = manager.store.view.services.get("s1")
    assert found is not None
    await manager.put(autoscale.scale_to(found, 4, "why", 1.0))
    await manager.put(replace(found, spec=replace(found.spec, labels={})))
    assert await worker.expect(Measure) == Measure(), "nothing was said between"
