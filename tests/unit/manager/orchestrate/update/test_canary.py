"""Canaries: an update holds after so many tasks, and nothing but its going on makes more of them."""

from __future__ import annotations

from collections import Counter

import pytest

from common.model import TaskState
from common.model.update import UpdateState, UpdateStatus
from tests.fakes.world import World, policy, replace, template, update_config
from tests.unit.manager.orchestrate.update.test_limits import message
from tests.unit.manager.orchestrate.update.test_rolling import NEW, image, new, old, state

OLD = "web:1"
NODES = ("n1", "n2", "n3")


def updated(canary: int = 1, period: str = "", replicas: int = 5, **config: object) -> World:
    """A running service whose update has begun."""
    world = World()
    world.nodes(*NODES)
    labels = {"swarm.x.canary": str(canary)} | ({"swarm.x.canary-period": period} if period else {})
    spec = template(restart_policy=policy(delay=0))
    world.replicated(replicas, spec, labels=labels, update_config=update_config(**config))  # type: ignore[arg-type]
    world.settle()
    world.run(*NODES)
    world.change(template(NEW, restart_policy=policy(delay=0)))
    world.settle()
    return world


def work(world: World, turns: int = 12) -> None:
    """Let workers do what they are told, and monitor periods pass."""
    for _ in range(turns):
        world.stopped()
        world.settle()
        world.run(*NODES)
        world.settle()
        world.pass_time(5.5)
        world.settle()


def go_on(world: World) -> None:
    status = world.service.update_status
    assert status is not None
    status = replace(status, state=UpdateState.UPDATING, promoted=True, resumed_at=world.now, held_at=0.0)
    world.put(replace(world.service, update_status=status))
    world.settle()


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
@pytest.mark.parametrize("parallelism", [0, 1, 4])
def test_an_update_holds_after_its_canary_and_goes_on_when_told(order: str, parallelism: int) -> None:
    world = updated(2, order=order, parallelism=parallelism)
    work(world)
    assert (len(new(world)), len(old(world))) == (2, 3)
    assert (state(world), message(world)) == ("paused", "canary: 2 of 5 updated, holding")
    go_on(world)
    work(world)
    assert (state(world), len(new(world))) == ("completed", 5)


def test_it_goes_on_by_itself_after_a_healthy_period() -> None:
    world = updated(1, "60s")
    work(world, 3)
    assert state(world) == "paused"
    decision = world.decide()
    assert world.now < decision.wake_at["s"] <= world.now + 60
    world.pass_time(61)
    world.settle()
    assert state(world) == "updating"
    work(world)
    assert (state(world), len(new(world))) == ("completed", 5)


@pytest.mark.parametrize(("action", "after"), [("pause", "paused"), ("rollback", "rollback_started")])
def test_a_canary_that_fails_while_it_holds_fails_the_update(action: str, after: str) -> None:
    world = updated(1, "60s", failure_action=action)
    work(world, 3)
    world.see(new(world)[0], TaskState.FAILED)
    world.settle()
    assert state(world) == after
    assert "due to failure" in message(world)
    world.pass_time(100)
    world.settle()
    assert state(world) == after, "it does not go on by itself any more"
    assert len(new(world)) <= 1


def test_a_canary_of_all_is_an_update_as_ever() -> None:
    world = updated(9)
    work(world)
    assert (state(world), len(new(world))) == ("completed", 5)


def test_tasks_restarted_or_added_beside_a_canary_are_old_ones() -> None:
    world = updated(1)
    work(world, 3)
    world.see(old(world)[0], TaskState.FAILED)
    node = world.tables.nodes.get("n2")
    assert node is not None
    world.put(replace(node, spec=replace(node.spec, availability="drain")))
    world.scale(8)
    work(world)
    assert (len(new(world)), len(old(world))) == (1, 7)
    assert message(world) == "canary: 1 of 8 updated, holding"
    assert not [task for task in world.live if task.node_id == "n2"]


def test_scaling_a_promoted_canary_does_not_hold_it_again() -> None:
    """What is added is made from the present specification; it was made from the one before, and the update held."""
    world = updated(2, replicas=3)
    work(world)
    go_on(world)
    work(world)
    assert state(world) == "completed"
    world.scale(6)
    work(world)
    assert (len(new(world)), len(old(world))) == (6, 0)
    assert state(world) != "paused"


def test_scaling_after_the_canary_does_not_stop_the_update() -> None:
    world = updated(1, replicas=5)
    work(world)
    go_on(world)
    work(world, 1)
    assert len(old(world)) > 1
    world.scale(6)
    world.decide()
    status = world.service.update_status
    assert status is not None
    assert (status.state, status.promoted) == ("updating", True)
    work(world)
    assert (state(world), len(new(world))) == ("completed", 6)


def test_scaling_a_canary_service_in_rollback_does_not_hold_it() -> None:
    world = updated(1, replicas=4)
    work(world)
    go_on(world)
    work(world)
    world.change(template(OLD, restart_policy=policy(delay=0)))
    world.put(
        replace(world.service, update_status=UpdateStatus(state=UpdateState.ROLLBACK_STARTED, started_at=world.now))
    )
    world.settle()
    world.scale(6)
    work(world, 20)
    assert (state(world), image_counts(world)) == ("completed", {OLD: 6})


def image_counts(world: World) -> dict[str, int]:
    return dict(Counter(image(task) for task in world.live))


def test_a_new_specification_has_a_canary_again() -> None:
    world = updated(1, replicas=3)
    work(world)
    go_on(world)
    work(world)
    world.scale(4)
    work(world)
    world.change(template("web:3", restart_policy=policy(delay=0)))
    work(world)
    assert (state(world), message(world)) == ("paused", "canary: 1 of 4 updated, holding")


def test_a_drained_task_outside_a_canary_is_replaced_with_delays() -> None:
    """What replaces it is made as it is, so failures of that count like those of any other task."""
    world = updated(1, replicas=2)
    work(world)
    assert state(world) == "paused"
    (left,) = old(world)
    node = world.tables.nodes.get(left.node_id)
    assert node is not None
    spec = world.task(left).spec
    world.put(replace(left, spec=replace(spec, restart_policy=policy(delay=5))))
    world.put(replace(node, spec=replace(node.spec, availability="drain")))
    world.settle()
    (challenger,) = [task for task in world.live if task.slot == left.slot and task.id != left.id]
    elsewhere = next(each for each in NODES if each != left.node_id)
    world.see(challenger, TaskState.FAILED, elsewhere)
    world.settle()
    (second,) = [task for task in world.live if task.slot == left.slot and task.id != left.id]
    assert second.restart.not_before >= world.now + 5
