"""Canaries, whatever happens while they hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import TaskState
from common.model.service import Replicated, ServiceMode
from tests.fakes.world import replace
from tests.unit.manager.orchestrate.update.test_canary import NODES, updated, work
from tests.unit.manager.orchestrate.update.test_rolling import new, old

steps = st.lists(
    st.tuples(st.sampled_from(["fail", "drain", "down", "scale", "work", "wait"]), st.integers(0, 8)), max_size=14
)


@settings(max_examples=100, deadline=None)
@given(canary=st.integers(1, 4), what=steps, order=st.sampled_from(["stop-first", "start-first"]))
def test_there_are_never_more_than_asked_for(canary: int, what: list[tuple[str, int]], order: str) -> None:
    world = updated(canary, order=order, failure_action="continue", parallelism=0)
    for name, number in what:
        node = world.tables.nodes.get(NODES[number % 3])
        assert node is not None
        if name == "fail":
            running = [task for task in world.live if task.status.state is TaskState.RUNNING]
            if running:
                world.see(running[number % len(running)], TaskState.FAILED)
        elif name == "drain":
            world.put(replace(node, spec=replace(node.spec, availability="drain" if number % 2 else "active")))
        elif name == "down":
            world.put(replace(node, status=replace(node.status, state="down" if number % 2 else "ready")))
        elif name == "scale":
            world.change(mode=ServiceMode(replicated=Replicated(replicas=number)))
        elif name == "wait":
            world.pass_time(number * 5)
        else:
            work(world, 1)
        world.settle()
        slots = {task.slot for task in new(world)}
        status = world.service.update_status
        # Of a service that was scaled below its canary, the canary is all: the update is through, not to hold again.
        through = status is not None and (status.promoted or status.state == "completed")
        if old(world) and not through:
            assert len(slots) <= canary
