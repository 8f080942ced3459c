"""`swarm.x.max-unavailable`: what is done on purpose leaves so many replicas, whatever the others are missing for."""

from __future__ import annotations

import pytest

from common.model import TaskState
from common.spec import extensions
from tests.fakes.world import World, template, update_config
from tests.unit.manager.orchestrate.update.test_limits import message
from tests.unit.manager.orchestrate.update.test_rolling import NEW, new, old, running, state

LABEL = "swarm.x.max-unavailable"


def bounded(replicas: int, most: str, **config: object) -> World:
    labels = {LABEL: most, "swarm.x.progress-deadline": "60s"}
    return running(replicas, labels=labels, update_config=update_config(parallelism=0, **config))  # type: ignore[arg-type]


@pytest.mark.parametrize(("most", "begun"), [("1", 1), ("3", 3), ("50%", 4), ("10%", 1), ("100%", 8), ("20", 8)])
def test_of_an_update_all_at_once_so_many_slots_are_under_way(most: str, begun: int) -> None:
    world = bounded(8, most)
    world.change(template(NEW))
    for _ in range(3):
        world.settle()
        assert len(old(world)) == 8 - begun


def held_up() -> World:
    """An update of four replicas, one of which may be missing, that waits: one that it had changed has failed."""
    world = bounded(4, "1")
    world.change(template(NEW))
    for _ in range(2):
        world.settle()
        world.stopped()
        world.settle()
        first = new(world)[0]
        world.run("n1")
    world.pass_time(10)
    world.see(first, TaskState.FAILED)
    world.settle()
    return world


def test_the_smaller_of_parallelism_and_the_bound_counts() -> None:
    world = running(8, labels={LABEL: "4"}, update_config=update_config(parallelism=2))
    world.change(template(NEW))
    world.settle()
    assert len(old(world)) == 6


def test_failed_replicas_count_as_unavailable_in_an_update() -> None:
    world = bounded(4, "1")
    world.see(world.live[0], TaskState.FAILED)
    world.decide()
    world.change(template(NEW))
    world.settle()
    assert len([task for task in old(world) if task.status.state is TaskState.RUNNING]) == 3
    assert [task.slot for task in new(world)] == [1], "what does not serve is changed for nothing"
    world.see(new(world)[0], TaskState.RUNNING, "n1")
    world.settle()
    assert len(old(world)) == 2


def test_an_update_that_waits_too_long_for_replicas_fails() -> None:
    world = held_up()
    assert message(world) == "update in progress: waits, as no more replicas may be unavailable (max-unavailable)"
    assert len(old(world)) == 2
    world.pass_time(61)
    world.settle()
    assert state(world) == "paused"
    assert "as there was no progress for 60 s: it waits, as no more replicas may be unavailable" in message(world)


def test_it_goes_on_when_the_replica_is_back() -> None:
    world = held_up()
    world.pass_time(6)
    world.settle()
    world.run("n1")
    world.settle()
    assert message(world) == "update in progress"
    assert len(old(world)) == 1


def test_start_first_leaves_no_gap_and_needs_no_room() -> None:
    world = bounded(4, "1", order="start-first")
    world.change(template(NEW))
    world.settle()
    assert len(new(world)) == 4
    assert len(old(world)) == 4


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1", "x", "1.5", "%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(Exception, match="a whole number of 1 or more, or 1% to 100%"):
        extensions.read({LABEL: text})
