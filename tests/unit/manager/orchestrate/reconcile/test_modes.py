"""Replicated services: numbers of slots, and which ones go."""

from __future__ import annotations

from common.model import Node, TaskState
from common.model.update import UpdateState
from manager.domain.update_status import state_of
from manager.store.changes import MAX_CHANGES
from tests.fakes.world import World, replace, template, update_config
from tests.unit.manager.orchestrate.reconcile.test_slot_reconciler import drain


def numbers(world: World) -> list[int]:
    return sorted(task.slot for task in world.live)


def test_fills_slots_from_one() -> None:
    world = World()
    world.replicated(3)
    decision = world.decide()
    assert numbers(world) == [1, 2, 3]
    assert {task.desired_state for task in world.tasks} == {TaskState.RUNNING}
    assert {task.status.state for task in world.tasks} == {TaskState.NEW}
    assert {task.status.message for task in world.tasks} == {"created"}
    assert decision.reasons == ("web: 3 new tasks towards 3 replicas",)


def test_a_stable_service_is_left_alone() -> None:
    world = World()
    world.nodes("n1", "n2")
    world.replicated(4)
    world.decide()
    world.run("n1", "n2")
    assert not world.decide()


def test_no_replicas_named_is_one_and_zero_is_zero() -> None:
    world = World()
    world.replicated(None)
    world.decide()
    assert numbers(world) == [1]
    world.scale(0)
    world.decide()
    assert numbers(world) == []


def test_scaling_up_takes_the_lowest_free_numbers() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(4)
    world.decide()
    world.run("n1")
    world.remove(*[task for task in world.tasks if task.slot in (1, 3)])
    world.scale(5)
    world.decide()
    assert numbers(world) == [1, 2, 3, 4, 5]


def test_scaling_down_takes_from_the_fullest_node_first() -> None:
    world = World()
    world.nodes("n1", "n2")
    world.replicated(5)
    world.decide()
    places = {1: "n1", 2: "n1", 3: "n1", 4: "n2", 5: "n2"}
    for task in world.tasks:
        world.see(task, TaskState.RUNNING, places[task.slot])
    world.scale(4)
    world.decide()
    assert numbers(world) == [1, 2, 4, 5]
    world.scale(2)
    world.decide()
    assert numbers(world) == [1, 4]


def test_scaling_down_takes_what_does_not_run_before_what_does() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(3)
    world.decide()
    for task in world.tasks:
        world.see(task, TaskState.STARTING if task.slot == 1 else TaskState.RUNNING, "n1")
    world.scale(2)
    world.decide()
    assert numbers(world) == [2, 3]


def test_scaling_down_takes_what_has_no_node_first() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(4)
    world.decide()
    for task in world.tasks:
        if task.slot in (1, 3, 4):
            world.see(task, TaskState.RUNNING, "n1")
    world.scale(3)
    world.decide()
    assert numbers(world) == [1, 3, 4]


def test_removed_slots_are_wanted_gone_with_their_history() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(1)
    world.decide()
    world.run("n1")
    world.see(world.live[0], TaskState.FAILED)
    world.decide()
    world.scale(0)
    world.decide()
    assert len(world.tasks) == 2
    assert {task.desired_state for task in world.tasks} == {TaskState.REMOVE}


def test_a_stopping_slot_is_filled_once_it_has_stopped() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(1)
    world.decide()
    world.run("n1")
    world.scale(0)
    world.decide()
    world.scale(1)
    world.decide()
    assert [task.desired_state for task in world.live] == [TaskState.READY]
    world.stopped()
    world.decide()
    assert [task.desired_state for task in world.live] == [TaskState.RUNNING]


def test_many_tasks_come_in_bounded_decisions() -> None:
    world = World()
    world.replicated(MAX_CHANGES * 2 + 10)
    decision = world.decide()
    assert len(decision.put) == MAX_CHANGES
    assert decision.wake_at == {"s": world.now}
    world.settle()
    assert numbers(world) == list(range(1, MAX_CHANGES * 2 + 11))
    world.scale(0)
    assert len(world.decide().put) == MAX_CHANGES
    world.settle()
    assert numbers(world) == []


def where(world: World) -> list[str]:
    return sorted(task.node_id for task in world.live)


def running(**other: object) -> World:
    world = World()
    world.nodes("n1", "n2", "n3")
    world.global_(**other)  # type: ignore[arg-type]
    world.decide()
    world.run()
    return world


def test_one_task_a_node() -> None:
    world = running()
    assert where(world) == ["n1", "n2", "n3"]
    assert {task.slot for task in world.tasks} == {0}
    assert not world.decide()


def test_a_new_node_gets_one() -> None:
    world = running()
    world.node("n4")
    world.decide()
    assert where(world) == ["n1", "n2", "n3", "n4"]


def test_a_manager_without_a_worker_gets_none() -> None:
    world = running()
    world.put(replace(Node(), id="m1", status=replace(Node().status, state="ready")))
    world.decide()
    assert where(world) == ["n1", "n2", "n3"]


def test_a_lost_nodes_task_goes_on_when_that_is_back() -> None:
    """None can take its place elsewhere, so there is nothing to be gained by giving it up."""
    world = running()
    before = {task.id for task in world.live}
    world.node("n2", state="down")
    assert not world.decide()
    world.node("n2")
    assert not world.decide()
    assert {task.id for task in world.live} == before


def test_what_had_not_begun_on_a_lost_node_is_made_anew() -> None:
    world = running()
    world.node("n4")
    world.decide()
    world.node("n4", state="down")
    world.decide()
    assert where(world) == ["n1", "n2", "n3"]
    world.node("n4")
    world.decide()
    assert where(world) == ["n1", "n2", "n3", "n4"]


def _go_on(world: World) -> None:
    """Let an update come to its end, as far as nodes report."""
    for _ in range(4):
        world.settle()
        world.stopped()
        world.settle()
        world.run()
        world.pass_time(6)
    world.settle()


def test_a_lost_nodes_task_is_updated_when_that_is_back() -> None:
    world = running()
    world.node("n2", state="down")
    world.change(template("web:2"))
    _go_on(world)
    assert state_of(world.service) is UpdateState.COMPLETED
    assert {task.node_id for task in world.live if task.spec_version < world.service.spec_version} == {"n2"}
    world.node("n2")
    _go_on(world)
    assert {task.spec_version for task in world.live} == {world.service.spec_version}


def test_drain_stops_it_and_it_comes_back() -> None:
    world = running()
    drain(world, "n2")
    world.decide()
    assert where(world) == ["n1", "n3"]
    assert {task.desired_state for task in world.tasks if task.node_id == "n2"} == {TaskState.SHUTDOWN}
    assert not world.decide()
    world.node("n2")
    world.decide()
    assert where(world) == ["n1", "n2", "n3"]
    world.stopped()
    world.decide()
    assert {task.desired_state for task in world.live} == {TaskState.RUNNING}


def test_pause_keeps_it_and_starts_nothing() -> None:
    world = running()
    drain(world, "n2", "pause")
    assert not world.decide()
    world.see(next(task for task in world.live if task.node_id == "n2"), TaskState.FAILED)
    world.decide()
    assert where(world) == ["n1", "n3"]
    drain(world, "n2", "active")
    world.decide()
    assert where(world) == ["n1", "n2", "n3"]


def test_constraints_choose_nodes_and_give_them_up() -> None:
    world = World()
    world.node("n1", labels={"zone": "a"})
    world.node("n2", labels={"zone": "b"})
    world.global_(template(constraints=("node.labels.zone==a",)))
    world.decide()
    assert where(world) == ["n1"]
    world.node("n1", labels={"zone": "b"})
    world.node("n2", labels={"zone": "a"})
    world.decide()
    assert where(world) == ["n2"]
    assert {task.desired_state for task in world.tasks if task.node_id == "n1"} == {TaskState.REMOVE}


def test_a_removed_nodes_task_goes() -> None:
    world = running()
    node = world.tables.nodes.get("n2")
    assert node is not None
    world.remove(node)
    world.decide()
    assert where(world) == ["n1", "n3"]
    assert {task.desired_state for task in world.tasks if task.node_id == "n2"} == {TaskState.REMOVE}


def test_a_failed_task_is_replaced_on_its_node() -> None:
    world = running()
    failed = world.see(world.live[0], TaskState.FAILED)
    world.decide()
    new = next(task for task in world.live if task.node_id == failed.node_id)
    assert new.desired_state is TaskState.READY
    assert new.restart.streak == 1


def test_it_updates_node_by_node() -> None:
    world = running(update_config=update_config(parallelism=1))
    world.change(template("web:2"))
    for _ in range(4):
        world.decide()
        assert sum(task.status.state < TaskState.RUNNING for task in world.live) <= 1
        world.stopped()
        world.decide()
        world.run()
    assert where(world) == ["n1", "n2", "n3"]
    assert {task.spec_version for task in world.live} == {world.service.spec_version}
