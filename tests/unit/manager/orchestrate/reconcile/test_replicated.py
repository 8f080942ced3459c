"""Replicated services: numbers of slots, and which ones go."""

from __future__ import annotations

from common.model import RegistryLogin, TaskState
from manager.orchestrate.reconcile.service_context import MAX_CHANGES
from tests.fakes.world import World, replace


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


def test_a_removed_service_goes_with_its_last_task() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(2)
    world.decide()
    world.run("n1")
    world.put(replace(world.service, pending_delete=True))
    world.decide()
    assert {task.desired_state for task in world.tasks} == {TaskState.REMOVE}
    assert not world.decide()
    world.remove(*world.tasks)
    world.put(RegistryLogin(id="s", auth="{}"))
    decision = world.decide()
    assert decision.reasons == ("web: removed",)
    assert world.tables.services.get("s") is None
    assert world.tables.registry_logins.get("s") is None


def test_a_removed_service_does_not_wait_for_a_lost_node() -> None:
    world = World()
    node = world.node("n1")
    world.replicated(1)
    world.decide()
    world.run("n1")
    world.put(replace(node, status=replace(node.status, state="down")))
    world.put(replace(world.service, pending_delete=True))
    world.decide()
    assert world.tables.services.get("s") is None
    assert [task.desired_state for task in world.tasks] == [TaskState.REMOVE]
    assert not world.decide()


def test_tasks_of_a_service_that_is_not_there_go() -> None:
    world = World()
    world.nodes("n1")
    world.replicated(1)
    world.decide()
    world.remove(world.service)
    world.decide()
    assert [task.desired_state for task in world.tasks] == [TaskState.REMOVE]
