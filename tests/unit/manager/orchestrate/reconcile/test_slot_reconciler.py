"""What becomes of tasks when their node is down, drained or gone."""

from __future__ import annotations

from common.model import Node, Task, TaskState
from manager.orchestrate.reconcile import services
from manager.orchestrate.reconcile.drain import MOVES_AT_ONCE
from manager.orchestrate.reconcile.slot_reconciler import DRAIN_PATIENCE
from tests.fakes.world import World, policy, replace, template, update_config


def running(replicas: int, condition: str = "any") -> World:
    world = World()
    world.nodes("n1", "n2")
    world.replicated(replicas, template(restart_policy=policy(condition)))
    world.decide()
    world.run("n1")
    return world


def drain(world: World, node_id: str = "n1", availability: str = "drain") -> None:
    node = world.tables.nodes.get(node_id)
    assert isinstance(node, Node)
    world.put(replace(node, spec=replace(node.spec, availability=availability)))


def on(world: World, node_id: str) -> int:
    return sum(task.node_id == node_id for task in world.live)


def test_a_lost_nodes_tasks_are_replaced_at_once() -> None:
    world = running(2)
    world.node("n1", state="down")
    world.decide()
    following = [task for task in world.live if task.node_id != "n1"]
    assert [task.desired_state for task in following] == [TaskState.RUNNING, TaskState.RUNNING]


def lost_one() -> tuple[World, Task, Task]:
    """A world with a slot whose task is lost with its node, and whose next task has no node yet."""
    world = running(1)
    world.node("n1", state="down")
    world.decide()
    lost, following = world.live
    assert (lost.node_id, following.node_id) == ("n1", "")
    return world, lost, following


def test_a_lost_task_goes_on_if_its_node_is_back_first() -> None:
    """A worker that is restarted too slowly on the only node must not cost its containers."""
    world, lost, _following = lost_one()
    assert not world.decide()
    world.node("n1")
    world.decide()
    assert [task.id for task in world.live] == [lost.id]


def test_it_goes_on_also_where_the_next_was_just_assigned() -> None:
    world, lost, following = lost_one()
    world.node("n1")
    world.see(following, TaskState.ASSIGNED, "n1")
    world.decide()
    assert [task.id for task in world.live] == [lost.id]


def test_a_lost_task_stops_when_the_next_has_a_node() -> None:
    world, lost, following = lost_one()
    world.see(following, TaskState.ASSIGNED, "n2")
    world.decide()
    assert [task.id for task in world.live] == [following.id]
    found = world.tables.tasks.get(lost.id)
    assert found is not None
    assert found.desired_state is TaskState.SHUTDOWN


def test_a_lost_task_of_before_an_update_is_not_kept() -> None:
    world, lost, _following = lost_one()
    world.change(template("web:2"))
    world.settle()
    assert lost.id not in {task.id for task in world.live}


def test_lost_tasks_are_not_kept_beyond_a_scale_down() -> None:
    world, _lost, _following = lost_one()
    world.scale(0)
    world.settle()
    assert not world.live


def test_failed_replacements_of_a_lost_task_count_for_the_next() -> None:
    """The update is paused by it, and so the slot has but the task of before when its node is lost."""
    world = running(1)
    world.change(template("web:2"), update_config=update_config(order="start-first"))
    world.settle()
    world.see(world.live[-1], TaskState.REJECTED, "n2", "no such image")
    world.settle()
    (incumbent,) = world.live
    assert (incumbent.node_id, incumbent.restart.streak) == ("n1", 0)
    world.node("n1", state="down")
    world.settle()
    (following,) = world.live
    assert following.restart.streak == 1
    assert following.restart.not_before > world.now


def test_a_restored_constraint_moves_tasks_that_no_longer_fit() -> None:
    """The tasks were made with it, and the update that took it away left them as they were."""
    world = World()
    world.node("n1", labels={"zone": "b"})
    apart = template(constraints=("node.labels.zone==b",))
    world.replicated(1, apart)
    world.decide()
    world.run("n1")
    world.change(template())
    world.settle()
    world.node("n1", labels={"zone": "a"})
    world.settle()
    (before,) = world.live
    world.change(apart)
    world.settle()
    assert [task.id for task in world.live] != [before.id]


def test_a_node_that_is_only_silent_keeps_its_tasks() -> None:
    world = running(2)
    for state in ("unknown", "disconnected"):
        world.node("n1", state=state)
        assert not world.decide()


def test_one_shots_do_not_run_twice() -> None:
    world = running(1, "none")
    world.node("n1", state="down")
    world.decide()
    assert not world.live
    world.decide()
    assert len(world.tasks) == 1


def test_drain_replaces_before_it_stops() -> None:
    world = running(3)
    drain(world)
    decision = world.decide()
    assert len(world.live) == 6
    assert {task.desired_state for task in world.live} == {TaskState.RUNNING}
    assert sum("before it stops" in reason for reason in decision.reasons) == 3
    assert not world.decide()
    world.run("n2")
    world.decide()
    assert on(world, "n1") == 0
    assert on(world, "n2") == 3


def test_drain_is_paced() -> None:
    world = running(MOVES_AT_ONCE * 2 + 3)
    drain(world)
    rounds = 0
    while on(world, "n1"):
        world.decide()
        moving = len(world.live) - len({task.slot for task in world.live})
        assert moving <= MOVES_AT_ONCE
        assert {task.slot for task in world.live} == set(range(1, MOVES_AT_ONCE * 2 + 4))
        world.run("n2")
        world.decide()
        rounds += 1
        assert rounds < 10
    assert rounds >= 3


def test_what_has_not_begun_on_a_drained_node_goes_at_once() -> None:
    world = World()
    world.nodes("n1", "n2")
    world.replicated(1)
    world.decide()
    world.see(world.live[0], TaskState.PREPARING, "n1")
    drain(world)
    world.decide()
    old, new = world.in_slot(1)
    assert old.desired_state is TaskState.SHUTDOWN
    assert new.desired_state is TaskState.READY


def test_a_drained_task_without_a_replacement_stops_at_last() -> None:
    world = running(1)
    drain(world)
    world.decide()
    old, new = world.in_slot(1)
    world.put(replace(new, status=replace(new.status, state=TaskState.PENDING, err="no suitable node")))
    decision = world.decide()
    assert world.task(old).live
    assert decision.wake_at == {"s": new.created_at + DRAIN_PATIENCE}
    world.pass_time(DRAIN_PATIENCE + 0.1)
    world.decide()
    assert not world.task(old).live
    assert world.task(new).live


def test_a_failed_replacement_leaves_the_drained_task_running() -> None:
    world = running(1)
    drain(world)
    world.decide()
    old, new = world.in_slot(1)
    world.see(new, TaskState.FAILED, "n2")
    world.decide()
    assert world.task(old).live
    assert world.task(new).desired_state is TaskState.SHUTDOWN, "it is history, which the reaper takes"
    third = world.in_slot(1)[-1]
    assert third.desired_state is TaskState.READY, "it backs off"
    world.pass_time(6)
    world.decide()
    assert world.task(third).desired_state is TaskState.RUNNING
    world.run("n2")
    world.decide()
    assert [task.id for task in world.live] == [third.id]


def test_a_drain_taken_back_keeps_what_runs() -> None:
    world = running(2)
    before = {task.id for task in world.live}
    drain(world)
    world.decide()
    drain(world, availability="active")
    world.decide()
    assert {task.id for task in world.live} == before


def test_pause_keeps_tasks() -> None:
    world = running(2)
    drain(world, availability="pause")
    assert not world.decide()


def test_a_node_that_is_lost_while_it_is_drained() -> None:
    world = running(2)
    drain(world)
    world.decide()
    world.put(replace(world.tables.nodes.get("n1"), status=replace(Node().status, state="down")))  # type: ignore[arg-type]
    world.decide()
    assert on(world, "n1") == 0
    assert len(world.live) == 2


def many_services(count: int) -> tuple[World, list[str]]:
    """Make as many services of one task each, all on n1, which is drained then."""
    world = World()
    world.nodes("n1", "n2")
    first = world.replicated(1)
    names = [f"s{number}" for number in range(count)]
    world.put(*(replace(first, id=name, spec=replace(first.spec, name=name)) for name in names))
    world.remove(first)
    world.decide(services.decide, *names)
    world.run("n1")
    drain(world)
    return world, names


def test_a_drain_respects_parallelism_across_services() -> None:
    world, names = many_services(MOVES_AT_ONCE + 3)
    decision = world.decide(services.decide, *names)
    assert len(world.live) == len(names) + MOVES_AT_ONCE
    assert len(decision.wake_at) == 3
    assert not world.decide(services.decide, *names), "those on their way count in the next decision, too"
    world.run("n2")
    world.decide(services.decide, *names)  # those that run take over
    world.decide(services.decide, *names)  # and make room for the rest
    assert len([task for task in world.live if task.node_id != "n1"]) == len(names)


def test_a_replacement_that_finds_no_place_holds_up_no_other() -> None:
    world, names = many_services(MOVES_AT_ONCE + 3)
    world.decide(services.decide, *names)
    for task in [task for task in world.live if not task.node_id]:
        world.see(task, TaskState.PENDING, err="no suitable node")
    world.decide(services.decide, *names)
    assert len([task for task in world.live if not task.node_id]) == len(names)
