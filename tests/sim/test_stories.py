"""Single stories that a cluster must live through well, with the time that they may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from common.clock import SECOND
from common.model import Secret, Service, Task, TaskState
from common.model.container import ContainerSpec, SecretReference
from common.model.secret import SecretSpec
from common.model.service import (
    EndpointSpec,
    Placement,
    PortConfig,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from common.model.update import Awaited, Condition
from manager.domain import hostnames
from manager.domain.defaults import fill_defaults
from tests.fakes.world import replace
from tests.sim import clock
from tests.sim.cluster import Cluster
from tests.sim.convergence import problems
from tests.sim.host import Host
from tests.sim.invariants import Told
from tests.sim.startorder import LABEL
from tests.sim.test_seeds import scenario


def service(replicas: int, image: str = "v1", **other: object) -> Service:
    template = TaskSpec(container_spec=ContainerSpec(image=image), restart_policy=RestartPolicy(delay=1 * SECOND))
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    spec = ServiceSpec(name="web", mode=mode, task_template=template, **other)  # type: ignore[arg-type]
    return Service(id="web", spec=fill_defaults(spec))


def image(name: str) -> TaskSpec:
    return service(1, name).spec.task_template


@asynccontextmanager
async def cluster_of(hosts: int, **settings: float) -> AsyncIterator[Cluster]:
    cluster = Cluster(1, **settings)
    async with cluster.running():
        for number in range(1, hosts + 1):
            await cluster.add_host(f"node{number}")
        yield cluster
        cluster.check()


async def until(cluster: Cluster, what: Callable[[], bool], seconds: float) -> float:
    """Wait until something holds, at most so many seconds, and return how long it took."""
    started = cluster.clock.now()
    while not what():
        cluster.check()
        elapsed = cluster.clock.now() - started
        assert elapsed <= seconds, f"not within {seconds} s: {problems(cluster)}"
        await asyncio.sleep(0.05)
    return cluster.clock.now() - started


def containers(cluster: Cluster) -> int:
    return sum(len(host.containers) for host in cluster.hosts.values())


def settled(cluster: Cluster) -> bool:
    return not problems(cluster)


async def lost_host() -> None:
    async with cluster_of(3) as cluster:
        cluster.habits.pull = 0.1
        await cluster.create(service(9))
        await until(cluster, lambda: containers(cluster) == 9, 5)
        lost = cluster.hosts["node1"]
        assert len(lost.containers) == 3
        lost.cut_off(True)
        elsewhere = [cluster.hosts["node2"], cluster.hosts["node3"]]
        await until(cluster, lambda: sum(len(host.containers) for host in elsewhere) == 9, 4.0)
        assert len(lost.containers) == 3, "nobody can tell it yet"
        lost.cut_off(False)
        await until(cluster, lambda: not lost.containers, 5)
        await until(cluster, lambda: settled(cluster), 5)


def test_a_lost_hosts_tasks_run_elsewhere_in_four_seconds() -> None:
    clock.run(lost_host())


async def two_of_a_name() -> None:
    """A service is bound to a host name that two nodes have."""
    async with cluster_of(3) as cluster:
        second = cluster.view.nodes.get("node3")
        assert second is not None
        named = replace(second, spec=replace(second.spec, name="NODE1"))
        await cluster.update(lambda tx: tx.put(hostnames.with_new_name(tx, named)))
        bound = replace(image("v1"), placement=Placement(constraints=("node.hostname==node1",)))
        await cluster.create(replace(service(4), spec=replace(service(4).spec, task_template=bound)))
        await until(cluster, lambda: len(cluster.hosts["node1"].containers) == 4, 5)
        await cluster.hosts["node1"].power_off()
        await asyncio.sleep(10)
        assert not cluster.hosts["node3"].containers, "the first is down, and has its name"
        await cluster.remove_node("node1")
        await until(cluster, lambda: len(cluster.hosts["node3"].containers) == 4, 10)
        assert not cluster.hosts["node2"].containers


def test_of_two_hosts_of_one_name_the_first_has_the_tasks() -> None:
    clock.run(two_of_a_name())


async def lost_engine() -> None:
    async with cluster_of(3) as cluster:
        cluster.habits.pull = 0.1
        await cluster.create(service(9))
        await until(cluster, lambda: settled(cluster), 5)
        host = cluster.hosts["node1"]
        began = cluster.clock.now()
        await host.lose_engine()
        elsewhere = [cluster.hosts["node2"], cluster.hosts["node3"]]
        await until(cluster, lambda: sum(len(each.containers) for each in elsewhere) == 9, 1.0)
        assert cluster.clock.now() - began < 1.0, "nobody waits for its silence"
        node = cluster.view.nodes.get("node1")
        assert node is not None
        assert node.status.message == "its engine hangs"
        assert len(host.containers) == 3, "nobody can stop them yet"
        host.start_agent()
        await until(cluster, lambda: not host.containers, 5)
        await until(cluster, lambda: settled(cluster), 5)


def test_tasks_of_a_host_without_an_engine_are_replaced_at_once() -> None:
    clock.run(lost_engine())


async def absent_agent(seconds: float, *, with_host: bool = False) -> tuple[float, set[str]]:
    """Stop a host's agent for so long; return when its tasks were replaced (0: never), and which tasks ran then."""
    async with cluster_of(3) as cluster:
        cluster.habits.pull = 0.1
        await cluster.create(service(9))
        await until(cluster, lambda: settled(cluster), 5)
        before = {task.id for task in cluster.view.tasks}
        host = cluster.hosts["node1"]
        began = cluster.clock.now()
        await host.stop_agent(with_host=with_host)
        elsewhere = [cluster.hosts["node2"], cluster.hosts["node3"]]
        replaced_at = 0.0
        while cluster.clock.now() < began + seconds:
            cluster.check()
            if not replaced_at and sum(len(each.containers) for each in elsewhere) == 9:
                replaced_at = cluster.clock.now() - began
            assert with_host or len(host.containers) == 3, "nobody can tell it, and it runs on"
            await asyncio.sleep(0.05)
        host.start_agent()
        await until(cluster, lambda: settled(cluster), 10)
        return replaced_at, {task.id for task in cluster.view.tasks if task.live} - before


def test_an_agent_that_is_restarted_finds_its_tasks_as_they_were() -> None:
    assert clock.run(absent_agent(28)) == (0.0, set())


def test_an_agent_that_stays_away_has_its_tasks_replaced() -> None:
    replaced_at, new = clock.run(absent_agent(40))
    assert 30 <= replaced_at <= 32
    assert len(new) == 3


def test_tasks_of_a_host_that_shuts_down_are_replaced_at_once() -> None:
    replaced_at, new = clock.run(absent_agent(10, with_host=True))
    assert 0 < replaced_at < 2
    assert len(new) == 3


async def rejecting_host(delay: int | None) -> list[float]:
    """Return when a task of a service was made whose host takes none, within ten minutes from its start."""
    made: dict[str, float] = {}
    async with cluster_of(1) as cluster:
        cluster.habits.pull, cluster.habits.rejected = 0.1, 1.0
        wanted = service(1)
        policy = RestartPolicy(delay=None if delay is None else delay * SECOND)
        template = replace(wanted.spec.task_template, restart_policy=policy)
        await cluster.create(replace(wanted, spec=replace(wanted.spec, task_template=template)))
        began = cluster.clock.now()
        while cluster.clock.now() < began + 600:
            made |= {task.id: max(task.created_at, task.restart.not_before) - began for task in cluster.view.tasks}
            await asyncio.sleep(0.05)
        (waiting,) = (task for task in cluster.view.tasks if task.live)
        assert waiting.desired_state is TaskState.READY
        assert waiting.restart.not_before > cluster.clock.now(), "what is next is shown"
        cluster.habits.rejected = 0.0
        await until(cluster, lambda: containers(cluster) == 1, 330)
    return sorted(made.values())


@pytest.mark.parametrize(("delay", "waits"), [(None, [5, 10, 20, 40, 80, 160, 300]), (0, [0, 1, 2, 4, 8, 16, 32])])
def test_a_host_that_rejects_a_task_is_asked_ever_less_often(delay: int | None, waits: list[int]) -> None:
    """Preparing is what fails: a task that was prepared ahead of its time would be rejected before that has come."""
    began = clock.run(rejecting_host(delay))
    for earlier, later, wait in zip(began, began[1:], waits, strict=False):
        assert wait <= later - earlier <= wait * 1.1 + 0.5
    assert len(began) <= len(waits) + 5


async def drained_host() -> None:
    async with cluster_of(3) as cluster:
        cluster.habits.pull = 20.0
        await cluster.create(service(6))
        await until(cluster, lambda: settled(cluster), 30)
        await cluster.change_node("node1", availability="drain")
        lowest = 6
        while cluster.hosts["node1"].containers:
            lowest = min(lowest, containers(cluster))
            await asyncio.sleep(0.05)
        assert lowest == 6, "the service was never below its replicas, though pulls took up to 20 s"
        await until(cluster, lambda: settled(cluster), 60)


def test_draining_never_goes_below_the_replicas() -> None:
    clock.run(drained_host())


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_an_update_with_host_ports_ends_on_a_full_cluster(order: str) -> None:
    """moby#36934: with start-first the new tasks waited for ever for the ports of the old."""

    async def story() -> None:
        port = PortConfig(target_port=80, published_port=80, publish_mode="host")
        update = UpdateConfig(order=order, parallelism=1, monitor=1)
        async with cluster_of(3) as cluster:
            await cluster.create(service(3, endpoint_spec=EndpointSpec(ports=(port,)), update_config=update))
            await until(cluster, lambda: containers(cluster) == 3, 10)
            await cluster.change("web", task_template=image("v2"))
            await until(cluster, lambda: settled(cluster) and _state(cluster) == "completed", 60)

    clock.run(story())


def _state(cluster: Cluster) -> str:
    web = cluster.view.services.get("web")
    return web.update_status.state if web is not None and web.update_status is not None else ""


def test_a_manager_killed_during_a_deploy_loses_nothing() -> None:
    async def story() -> None:
        async with cluster_of(4, commit=0.05) as cluster:
            await cluster.create(service(40))
            for _ in range(10):
                await asyncio.sleep(0.06)
                await cluster.stop_manager()
                await cluster.start_manager()
            await until(cluster, lambda: containers(cluster) == 40 and settled(cluster), 60)
            assert sorted(task.slot for task in cluster.view.tasks) == list(range(1, 41))

    clock.run(story())


def test_a_failing_update_rolls_back_and_the_service_stays_up() -> None:
    async def story() -> None:
        update = UpdateConfig(order="start-first", failure_action="rollback", monitor=5 * SECOND)
        async with cluster_of(3) as cluster:
            await cluster.create(service(6, update_config=update))
            await until(cluster, lambda: containers(cluster) == 6, 10)
            await cluster.change("web", task_template=image("bad"))
            while _state(cluster) != "rollback_completed":
                assert containers(cluster) >= 6
                await asyncio.sleep(0.05)
                cluster.check()
            await until(cluster, lambda: settled(cluster), 60)

    clock.run(story())


def test_a_stack_starts_and_is_updated_in_its_order_across_hosts() -> None:
    """Of cache, db and web each starts when the one before it is healthy, although its host loses power meanwhile."""

    async def story() -> None:
        names = ("cache", "db", "web")
        async with cluster_of(3) as cluster:
            cluster.habits.pull = 3.0
            for name, other in zip(names, ("", *names), strict=False):
                labels = {LABEL: f"{other}=healthy"} if other else {}
                body = replace(service(2, labels=labels).spec, name=name)
                await cluster.create(Service(id=name, spec=body))
            await asyncio.sleep(2)
            await cluster.stop_manager()
            await cluster.hosts["node2"].power_off()
            await cluster.start_manager()
            await until(cluster, lambda: containers(cluster) == 6, 90)
            cluster.hosts["node2"].power_on()
            await until(cluster, lambda: settled(cluster), 30)
            for name in names:
                await cluster.change(name, task_template=image("v2"))
            await asyncio.sleep(0.1)
            web = cluster.view.services.get("web")
            assert web is not None
            assert web.waits_for == (Awaited(service="db", condition=Condition.HEALTHY),)
            await until(cluster, lambda: settled(cluster) and not list(cluster.view.services.waiting()), 120)
            made = {name: min(t.created_at for t in _tasks(cluster, name) if t.spec == image("v2")) for name in names}
            assert made["cache"] < made["db"] < made["web"]

    clock.run(story())


def _tasks(cluster: Cluster, name: str) -> list[Task]:
    return [task for task in cluster.view.tasks.of_service(name) if task.live]


def scheduled(when: str, concurrency: str) -> Service:
    labels = {"swarm.x.schedule": when, "swarm.x.schedule-concurrency": concurrency}
    job = ReplicatedJob(max_concurrent=1, total_completions=1)
    return replace(service(1), spec=replace(service(1, labels=labels).spec, mode=ServiceMode(replicated_job=job)))


def executions(cluster: Cluster) -> list[int]:
    return sorted(task.job_iteration.index for task in cluster.view.tasks if task.job_iteration is not None)


def test_a_due_time_without_a_manager_is_made_up_for_once() -> None:
    async def story() -> None:
        async with cluster_of(2) as cluster:
            await cluster.create(scheduled("* * * * *", "forbid"))
            await asyncio.sleep(35)
            assert executions(cluster) == [], "it is due in five seconds"
            await cluster.stop_manager()
            await asyncio.sleep(150)
            for _ in range(3):  # neither is it by those that come after
                await cluster.start_manager()
                await until(cluster, lambda: executions(cluster) == [0], 5)
                await asyncio.sleep(2)
                await cluster.stop_manager()
            await cluster.start_manager()
            await until(cluster, lambda: executions(cluster) == [0, 1], 60)

    clock.run(story())


def test_overlapping_executions_complete_whatever_managers_do() -> None:
    async def story() -> None:
        async with cluster_of(3) as cluster:
            cluster.habits.lifetime = 60.0
            await cluster.create(scheduled("*/10 * * * * *", "allow"))
            most = 0
            for number in range(60):
                await asyncio.sleep(1)
                most = max(most, containers(cluster))
                if number % 20 == 10:
                    await cluster.stop_manager()
                    await cluster.start_manager()
            assert most >= 2
            assert max(executions(cluster)) == 5
            await cluster.change(
                "web", labels={"swarm.x.schedule": "0 0 1 1 *", "swarm.x.schedule-concurrency": "allow"}
            )
            await until(cluster, lambda: all(task.status.state.terminal for task in cluster.view.tasks), 120)
            assert len(set(executions(cluster))) == len(executions(cluster)) == 5, "of six a task each; five are kept"
            assert all(task.status.state is TaskState.COMPLETE for task in cluster.view.tasks)

    clock.run(story())


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_an_update_and_a_drain_together_leave_as_many_as_is_said(order: str) -> None:
    async def story() -> None:
        update = UpdateConfig(order=order, parallelism=0, monitor=1)
        async with cluster_of(3) as cluster:
            cluster.habits.pull = 5.0
            await cluster.create(service(8, update_config=update, labels={"swarm.x.max-unavailable": "25%"}))
            await until(cluster, lambda: containers(cluster) == 8, 10)
            await cluster.change("web", task_template=image("v2"))
            await cluster.change_node("node1", availability="drain")
            lowest = 8
            while _state(cluster) != "completed" or not settled(cluster):
                lowest = min(lowest, sum(task.status.state is TaskState.RUNNING for task in _tasks(cluster, "web")))
                await asyncio.sleep(0.05)
                cluster.check()
            assert lowest == (6 if order == "stop-first" else 8)

    clock.run(story())


def test_hundreds_of_hosts_for_an_hour() -> None:
    """200 hosts, 2,000 tasks; every six minutes ten hosts lose power and come back a minute later."""

    async def story() -> None:
        async with cluster_of(200, heartbeat=20.0) as cluster:
            await cluster.create(service(2000))
            await until(cluster, lambda: containers(cluster) == 2000, 60)
            for round_ in range(10):
                victims = [cluster.hosts[f"node{1 + 10 * round_ + number}"] for number in range(10)]
                for host in victims:
                    await host.power_off()
                await asyncio.sleep(60)
                for host in victims:
                    host.power_on()
                await asyncio.sleep(300)
            await until(cluster, lambda: settled(cluster), 120)

    clock.run(story())


def test_a_seed_is_lived_through_the_same_way_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    histories: list[list[Told]] = []
    make = Cluster.__init__

    def remember(self: Cluster, *arguments: object, **settings: object) -> None:
        make(self, *arguments, **settings)  # type: ignore[arg-type]
        histories.append(self.backend.history)

    monkeypatch.setattr(Cluster, "__init__", remember)
    clock.run(scenario(7))
    clock.run(scenario(7))
    assert len(histories[0]) > 100
    assert [str(told) for told in histories[0]] == [str(told) for told in histories[1]]


def spread(cluster: Cluster) -> list[int]:
    return sorted(len(host.containers) for host in cluster.hosts.values())


async def returned_host(*, automatic: bool) -> None:
    async with cluster_of(3) as cluster:
        cluster.habits.pull = 3.0
        if automatic:
            await cluster.change_cluster(rebalance="auto")
        await cluster.change_node("node1", availability="drain")
        await cluster.create(service(9))
        await until(cluster, lambda: spread(cluster) == [0, 4, 5] and settled(cluster), 60)
        await cluster.change_node("node1", availability="active")
        await asyncio.sleep(5)
        assert spread(cluster) == [0, 4, 5], "nothing moves unasked, or at once"
        if not automatic:
            await cluster.rebalance()
        lowest, highest = 9, 9
        while spread(cluster) != [3, 3, 3] or not settled(cluster):
            lowest, highest = min(lowest, containers(cluster)), max(highest, containers(cluster))
            await until(cluster, lambda: True, 1)
            await asyncio.sleep(0.05)
        assert (lowest, highest) == (9, 10), "one moves at a time, and none is missing"
        homes = {task.id: task.node_id for task in cluster.view.tasks if task.live}
        await cluster.rebalance()
        await asyncio.sleep(60)
        assert settled(cluster)
        assert {task.id: task.node_id for task in cluster.view.tasks if task.live} == homes, (
            "a second run moves nothing"
        )


@pytest.mark.parametrize("automatic", [False, True], ids=["on-request", "by-itself"])
def test_a_host_that_returns_gets_its_share_one_task_at_a_time(automatic: bool) -> None:
    clock.run(returned_host(automatic=automatic))


def with_secret(secret_id: str) -> TaskSpec:
    reference = SecretReference(secret_id=secret_id, secret_name="key")
    template = TaskSpec(container_spec=ContainerSpec(image="v1", secrets=(reference,)))
    return fill_defaults(ServiceSpec(task_template=template)).task_template


async def rotated_in_place() -> None:
    """Secrets change twice while a host's agent cannot be reached: no container is replaced, and none left behind."""
    labels, update = {"swarm.x.on-rotate": "file"}, UpdateConfig(parallelism=0, monitor=1)
    async with cluster_of(3) as cluster:
        await cluster.update(lambda tx: tx.put(Secret(id="one", spec=SecretSpec(name="key", data=b"1"))))
        web = service(6, labels=labels, update_config=update)
        await cluster.create(replace(web, spec=replace(web.spec, task_template=with_secret("one"))))
        await until(cluster, lambda: settled(cluster), 10)
        before = {task.id for task in _tasks(cluster, "web")}
        away, there = cluster.hosts["node1"], [cluster.hosts["node2"], cluster.hosts["node3"]]

        def have(secret_id: str, hosts: list[Host]) -> bool:
            held = (task for host in hosts for task in host.containers.values())
            return all(task.spec == with_secret(secret_id) for task in held)

        away.cut_off(True)
        await cluster.rotate("key", "two", b"2")
        await until(cluster, lambda: have("two", there), 1)
        await cluster.rotate("key", "three", b"3")
        await until(cluster, lambda: have("three", there), 1)
        assert have("one", [away])
        assert {each.id for each in cluster.view.secrets} == {"one", "two", "three"}, "a container may have any of them"
        away.cut_off(False)
        await until(cluster, lambda: have("three", [away]), 3)
        await until(cluster, lambda: "one" not in cluster.view.secrets, 1)
        await until(cluster, lambda: settled(cluster) and _state(cluster) == "completed", 5)
        assert {task.id for task in _tasks(cluster, "web")} == before
        await cluster.roll_back("web")
        await until(cluster, lambda: have("two", list(cluster.hosts.values())), 3)
        await until(cluster, lambda: _state(cluster) == "rollback_completed", 10)
        assert {task.id for task in _tasks(cluster, "web")} == before


def test_secrets_change_in_containers_and_absent_agents_catch_up() -> None:
    clock.run(rotated_in_place())
