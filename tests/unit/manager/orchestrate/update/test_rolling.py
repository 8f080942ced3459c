"""Rolling updates: pace, order, failures, rollback."""

from __future__ import annotations

import pytest

from common.model import Network, Service, Task, TaskState
from common.model.container import Mount
from common.model.network import NetworkSpec
from common.model.service import EndpointSpec, NetworkAttachmentConfig, Placement, PortConfig, ServiceSpec, TaskSpec
from common.model.update import TasksFailed
from manager.domain.update_status import message
from manager.orchestrate.reconcile import services
from tests.fakes.world import World, policy, replace, template, update_config

NEW = "web:2"


def running(replicas: int = 4, spec: TaskSpec | None = None, **service: object) -> World:
    world = World()
    world.nodes("n1", "n2")
    world.replicated(replicas, spec, **service)
    world.decide()
    world.run("n1", "n2")
    return world


def image(task: Task) -> str:
    assert task.spec.container_spec is not None
    return task.spec.container_spec.image


def new(world: World) -> list[Task]:
    return [task for task in world.live if image(task) == NEW]


def old(world: World) -> list[Task]:
    return [task for task in world.live if image(task) != NEW]


def state(world: World) -> str:
    status = world.service.update_status
    return status.state if status else ""


def turn(world: World) -> None:
    """One round of what workers do: stop, start."""
    world.stopped()
    world.decide()
    world.run("n1")
    world.decide()


def test_slots_change_one_by_one_and_the_old_task_stops_first() -> None:
    world = running()
    world.change(template(NEW))
    world.decide()
    assert state(world) == "updating"
    (task,) = new(world)
    assert task.desired_state is TaskState.READY
    assert [t.desired_state for t in world.in_slot(task.slot) if t != task] == [TaskState.SHUTDOWN]
    assert not world.decide(), "nothing more until the old one has stopped"
    world.stopped()
    world.decide()
    assert [t.desired_state for t in new(world)] == [TaskState.RUNNING]
    assert not world.decide(), "nothing more until the new one runs"
    world.run("n1")
    world.decide()
    assert len(new(world)) == 2
    assert len(old(world)) == 2


def slots_in_turn(world: World) -> list[int]:
    """Let an update go on to its end; return the slots in the order in which they were changed."""
    order: list[int] = []
    for _ in range(20):
        world.decide()
        order += [task.slot for task in new(world) if task.slot not in order]
        world.stopped()
        world.decide()
        for task in new(world):
            if task.status.state < TaskState.RUNNING and task.desired_state is TaskState.RUNNING:
                world.see(task, TaskState.RUNNING, "n1")
    return order


def test_slots_that_do_not_serve_take_their_turn_first() -> None:
    """What is down has nothing to lose, and its user waits for the new specification."""
    world = running()
    world.see(world.in_slot(3)[0], TaskState.FAILED, err="exit code 1")
    world.settle()
    waiting = world.in_slot(3)[-1]
    assert waiting.desired_state is TaskState.READY, "it waits for its back-off"
    world.change(template(NEW))
    assert slots_in_turn(world) == [3, 1, 2, 4]


def test_a_slot_that_finds_no_node_takes_its_turn_last() -> None:
    """If the new specification fits nowhere either, the update has changed all others when it gives up."""
    world = World()
    world.nodes("n1", "n2")
    world.replicated(4)
    world.decide()
    first, *others = world.live
    world.see(first, TaskState.PENDING, err="no suitable node (max replicas per node limit exceed)")
    for task in others:
        world.see(task, TaskState.RUNNING, "n1")
    world.change(template(NEW))
    assert slots_in_turn(world) == [2, 3, 4, 1]


@pytest.mark.parametrize(("parallelism", "at_once"), [(1, 1), (3, 3), (0, 6)])
def test_parallelism(parallelism: int, at_once: int) -> None:
    world = running(6, update_config=update_config(parallelism))
    world.change(template(NEW))
    most = 0
    for _ in range(7):
        world.decide()
        most = max(most, sum(task.status.state < TaskState.RUNNING for task in new(world)))
        turn(world)
    assert most == at_once
    assert len(new(world)) == 6


def test_delay_separates_slots() -> None:
    world = running(update_config=update_config(delay=30))
    world.change(template(NEW))
    world.decide()
    turn(world)
    assert len(new(world)) == 1
    assert world.decide().wake_at == {"s": world.now + 30}
    world.pass_time(30)
    world.decide()
    assert len(new(world)) == 2


def test_it_completes_when_the_last_monitor_period_is_over() -> None:
    world = running(2)
    started = world.now
    world.change(template(NEW))
    world.decide()
    for _ in range(2):
        turn(world)
    assert state(world) == "updating"
    assert world.decide().wake_at == {"s": world.now + 5}
    world.pass_time(5)
    world.decide()
    status = world.service.update_status
    assert status is not None
    assert (status.state, message(status)) == ("completed", "update completed")
    assert (status.started_at, status.completed_at) == (started, world.now)
    assert not world.decide()


def test_start_first_keeps_the_old_task_until_the_new_one_runs() -> None:
    world = running(2, update_config=update_config(order="start-first"))
    world.change(template(NEW))
    world.decide()
    (task,) = new(world)
    assert task.desired_state is TaskState.RUNNING
    assert len(world.live) == 3
    assert not world.decide()
    world.run("n1")
    world.decide()
    assert [t.desired_state for t in world.in_slot(task.slot)] == [TaskState.SHUTDOWN, TaskState.RUNNING]


def test_start_first_stops_first_where_both_would_write_to_data() -> None:
    volume = Mount(source="data", target="/data")
    spec, changed = (
        replace(each, container_spec=replace(each.container_spec, mounts=(volume,)))  # type: ignore[type-var]
        for each in (template(), template(NEW))
    )
    world = running(2, spec, update_config=update_config(order="start-first"))
    world.change(changed)
    decision = world.decide()
    (task,) = new(world)
    assert task.desired_state is TaskState.READY
    assert [t.desired_state for t in world.in_slot(task.slot) if t != task] == [TaskState.SHUTDOWN]
    assert any("both would write to its volumes" in reason for reason in decision.reasons)


def unplaceable(world: World) -> Task:
    (task,) = new(world)
    status = replace(task.status, state=TaskState.PENDING, err="no suitable node (host-mode port in use on 2 nodes)")
    world.put(replace(task, status=status))
    return world.task(task)


@pytest.mark.parametrize("cause", ["host port", "max replicas"])
def test_start_first_falls_back_where_the_old_task_is_in_the_way(cause: str) -> None:
    ports = (PortConfig(target_port=80, published_port=80, publish_mode="host"),) if cause == "host port" else ()
    placement = Placement(max_replicas=1) if cause == "max replicas" else None
    config = update_config(order="start-first")
    world = running(
        2, replace(template(), placement=placement), endpoint_spec=EndpointSpec(ports=ports), update_config=config
    )
    world.change(replace(template(NEW), placement=placement))
    world.decide()
    task = unplaceable(world)
    decision = world.decide()
    assert world.in_slot(task.slot)[0].desired_state is TaskState.SHUTDOWN
    assert any("stopping the old one first" in reason for reason in decision.reasons)


def test_start_first_waits_where_the_old_task_is_not_the_cause() -> None:
    world = running(2, update_config=update_config(order="start-first"))
    world.change(template(NEW))
    world.decide()
    task = unplaceable(world)
    assert not world.decide()
    assert world.in_slot(task.slot)[0].live


def test_start_first_waits_where_the_old_tasks_node_does_not_fit() -> None:
    """That the old one stops would leave a gap, and the new one no better off."""
    ports = (PortConfig(target_port=80, published_port=80, publish_mode="host"),)
    config = update_config(order="start-first")
    world = running(2, endpoint_spec=EndpointSpec(ports=ports), update_config=config)
    world.change(template(NEW, constraints=("node.labels.zone==b",)))
    world.decide()
    task = unplaceable(world)
    assert not world.decide()
    assert world.in_slot(task.slot)[0].live


def fail_one(world: World, after: float = 1.0) -> None:
    """Start an update and let its first new task run, and then fail."""
    world.change(template(NEW))
    world.decide()
    turn(world)
    world.pass_time(after)
    first = next(task for task in new(world) if task.status.state is TaskState.RUNNING)
    world.see(first, TaskState.FAILED)
    world.decide()


def test_a_failure_within_the_monitor_period_pauses() -> None:
    world = running()
    fail_one(world)
    status = world.service.update_status
    assert status is not None
    assert status.state == "paused"
    assert message(status).startswith("update paused due to failure or early termination of task ")
    before = len(new(world))
    for _ in range(4):
        turn(world)
    assert len(new(world)) == before


def test_a_slot_that_failed_beside_its_old_task_counts_once() -> None:
    """Start-first: the old task serves on, so the slot is to be changed still; of two that is half the slots."""
    config = update_config(order="start-first", parallelism=0, max_failure_ratio=0.4)
    world = running(2, update_config=config)
    world.change(template(NEW))
    world.decide()
    world.see(new(world)[0], TaskState.REJECTED, "n1")
    world.decide()
    status = world.service.update_status
    assert status is not None
    assert status.state == "paused"
    assert isinstance(status.reason, TasksFailed)
    assert (status.reason.failed, status.reason.of) == (1, 2)


def test_a_failure_after_the_monitor_period_is_only_restarted() -> None:
    world = running(1, update_config=update_config(monitor=5))
    fail_one(world, after=6)
    assert state(world) == "completed"
    assert world.live[0].restart.streak == 1


def test_a_task_that_never_ran_failed() -> None:
    world = running()
    world.change(template(NEW))
    world.decide()
    world.stopped()
    world.decide()
    world.see(new(world)[0], TaskState.REJECTED, "n1")
    world.decide()
    assert state(world) == "paused"


def test_continue_goes_on() -> None:
    world = running(update_config=update_config(failure_action="continue"))
    fail_one(world)
    assert state(world) == "updating"
    for _ in range(4):
        turn(world)
    world.pass_time(10)
    for _ in range(3):
        turn(world)
    assert len(new(world)) == 4


def test_a_ratio_lets_some_fail() -> None:
    world = running(4, update_config=update_config(max_failure_ratio=0.25))
    fail_one(world)
    assert state(world) == "updating"
    turn(world)
    world.see(next(t for t in new(world) if t.status.state is TaskState.RUNNING), TaskState.FAILED)
    world.decide()
    assert state(world) == "paused"


def test_rollback_goes_back_to_the_previous_specification() -> None:
    world = running(update_config=update_config(failure_action="rollback"))
    fail_one(world)
    assert state(world) == "rollback_started"
    assert world.service.previous_spec is None
    for _ in range(6):
        turn(world)
    world.pass_time(30)
    world.decide()
    for _ in range(6):
        turn(world)
    assert not new(world)
    assert len(old(world)) == 4
    assert state(world) == "rollback_completed"


def test_a_rollback_leaves_the_slots_that_were_not_changed() -> None:
    world = running(update_config=update_config(failure_action="rollback"))
    before = {task.id for task in world.live}
    fail_one(world)
    for _ in range(6):
        turn(world)
    assert len(before & {task.id for task in world.live}) >= 2


def test_a_rollback_never_rolls_back() -> None:
    world = running(update_config=update_config(failure_action="rollback"))
    fail_one(world)
    world.stopped()
    world.decide()
    world.pass_time(10)
    world.decide()
    task = next(t for t in old(world) if t.status.state < TaskState.RUNNING)
    world.see(task, TaskState.REJECTED, "n1")
    world.decide()
    assert state(world) == "rollback_paused"


def test_without_a_previous_specification_a_rollback_pauses() -> None:
    world = running(update_config=update_config(failure_action="rollback"))
    world.change(template(NEW))
    world.put(replace(world.service, previous_spec=None))
    world.decide()
    turn(world)
    world.see(next(t for t in new(world) if t.status.state is TaskState.RUNNING), TaskState.FAILED)
    world.decide()
    assert state(world) == "paused"


def publishing(port: int) -> EndpointSpec:
    return EndpointSpec(ports=(PortConfig(target_port=80, published_port=port),))


def test_a_rollback_to_a_taken_port_pauses_and_names_the_holder() -> None:
    world = running(update_config=update_config(failure_action="rollback"), endpoint_spec=publishing(8080))
    world.change(template(NEW), endpoint_spec=publishing(9090))
    world.put(Service(id="o", spec=ServiceSpec(name="other", endpoint_spec=publishing(8080))))
    world.decide()
    turn(world)
    world.see(next(t for t in new(world) if t.status.state is TaskState.RUNNING), TaskState.FAILED)
    world.decide()
    status = world.service.update_status
    assert status is not None
    assert status.state == "paused"
    assert "it cannot be rolled back: port '8080' is already in use by service 'other'" in message(status)
    assert world.service.spec.ports == publishing(9090).ports


def test_of_two_rollbacks_to_one_port_only_one_succeeds() -> None:
    """Both services had the port, one after the other; neither sees in its view what the other returns to."""
    world = running(1, update_config=update_config(failure_action="rollback"), endpoint_spec=publishing(8080))
    world.change(template(NEW), endpoint_spec=publishing(9090))
    former = replace(world.service.spec, name="other", task_template=template(), endpoint_spec=publishing(8080))
    world.put(Service(id="o", spec=former, spec_version=world.tables.index + 1))
    world.decide(services.decide, "o")
    world.run("n1")
    (other,) = world.tables.services.named("other")
    changed = replace(former, task_template=template(NEW), endpoint_spec=publishing(7070))
    world.put(replace(other, spec=changed, previous_spec=former, spec_version=world.tables.index + 1))
    for _ in range(2):
        world.decide(services.decide, "s", "o")
        turn(world)
    for task in new(world):
        world.see(task, TaskState.FAILED)
    for _ in range(3):
        world.decide(services.decide, "s", "o")
    statuses = [service.update_status for service in world.tables.services]
    assert sorted(status.state for status in statuses if status is not None) == ["paused", "rollback_started"]
    ports = [port.published_port for service in world.tables.services for port in service.spec.ports]
    assert len(set(ports)) == 2


def test_a_new_update_takes_the_place_of_the_running_one() -> None:
    world = running(4, update_config=update_config(order="start-first"))
    world.change(template(NEW))
    world.decide()
    world.change(template("web:3"))
    for _ in range(8):
        world.decide()
        turn(world)
    assert {image(task) for task in world.live} == {"web:3"}
    assert len(world.live) == 4


def test_a_paused_update_is_left_by_a_new_one() -> None:
    world = running()
    fail_one(world)
    world.change(template("web:3"))
    world.decide()
    assert state(world) == "updating"


def test_a_change_of_placement_leaves_what_still_fits() -> None:
    world = World()
    world.node("n1", labels={"zone": "a"})
    world.node("n2", labels={"zone": "b"})
    world.replicated(2)
    world.decide()
    world.run("n1", "n2")
    world.change(template(constraints=("node.labels.zone==a",)))
    world.decide()
    stopped = [task.node_id for task in world.tasks if task.desired_state is TaskState.SHUTDOWN]
    assert stopped == ["n2"]


def test_a_new_version_of_the_same_specification_changes_nothing() -> None:
    world = running()
    world.change(template())
    assert not world.decide()


INGRESS = PortConfig(target_port=80, published_port=8080)
HOST = PortConfig(target_port=80, published_port=8080, publish_mode="host")


@pytest.mark.parametrize(
    ("networks", "before", "after", "anew"),
    [
        (("front",), (), (INGRESS,), False),
        (("front",), (INGRESS,), (), False),
        (("front", "back"), (), (INGRESS,), False),
        (("host",), (), (INGRESS,), False),
        (("front",), (), (HOST,), True),
        ((), (HOST,), (INGRESS,), True),
        # Without a network that leads outside, it is the port that gives a container an address for the mesh.
        ((), (), (INGRESS,), True),
        ((), (INGRESS,), (INGRESS, PortConfig(target_port=80, published_port=81)), False),
        ((), (INGRESS,), (), False),
        (("back",), (), (INGRESS,), True),
        (("back",), (INGRESS,), (), True),  # it is not to have a way out any more
    ],
)
def test_which_ports_make_tasks_anew(
    networks: tuple[str, ...], before: tuple[PortConfig, ...], after: tuple[PortConfig, ...], anew: bool
) -> None:
    spec = template(networks=tuple(NetworkAttachmentConfig(target=each) for each in networks))
    world = World()
    world.nodes("n1", "n2")
    world.put(*(Network(id=each, spec=NetworkSpec(name=each, internal=each == "back")) for each in ("front", "back")))
    world.replicated(2, spec, endpoint_spec=EndpointSpec(ports=before))
    world.decide()
    world.put(*(replace(task, ports=before) for task in world.tasks))  # as the allocator does
    world.run("n1", "n2")
    world.change(spec, endpoint_spec=EndpointSpec(ports=after))
    assert bool(world.decide()) == anew
    assert any(task.desired_state is TaskState.SHUTDOWN for task in world.tasks) == anew


def test_a_slot_that_is_done_is_updated_too() -> None:
    world = running(1, template(restart_policy=policy("on-failure")))
    world.see(world.live[0], TaskState.COMPLETE)
    world.decide()
    assert not world.live
    world.change(template(NEW, restart_policy=policy("on-failure")))
    world.decide()
    assert len(new(world)) == 1
    world.run("n1")
    world.see(new(world)[0], TaskState.COMPLETE)
    world.decide()
    world.pass_time(5)
    world.decide()
    assert state(world) == "completed", "finishing is no failure of a task that may finish"


def test_scaling_alone_is_no_update() -> None:
    world = running()
    world.scale(6)
    world.decide()
    assert state(world) == ""
    assert len(world.live) == 6
