"""Properties of the orchestrators on worlds that hypothesis makes up: counts add up, and decisions come to an end."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import Task, TaskState, TaskStatus
from common.model.service import RestartPolicy
from manager.orchestrate import housekeeping
from manager.orchestrate.reconcile.restart import LONGEST_DELAY, delay
from manager.orchestrate.reconcile.slots import Slot, free_numbers
from tests.fakes.world import World, policy, replace, template, update_config

NODES = ("n1", "n2", "n3")
_ENDS = (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("scale"), st.integers(0, 6)),
        st.tuples(st.just("update"), st.integers(1, 3)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("run"), st.integers(0, 5)),
        st.tuples(st.just("stop"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 100)),
        st.tuples(st.just("availability"), st.integers(0, 8)),
        st.tuples(st.just("state"), st.integers(0, 5)),
    ),
    max_size=25,
)
orders = st.sampled_from(["stop-first", "start-first"])
actions = st.sampled_from(["pause", "continue", "rollback"])


def take(world: World, what: str, number: int) -> None:
    """Let one thing happen, chosen by a number."""
    if what == "scale":
        world.scale(number)
    elif what == "update":
        world.change(template(f"web:{number}"))
    elif what == "wait":
        world.pass_time(number)
    elif what == "run":
        world.run(*NODES)
    elif what == "stop":
        world.stopped()
    elif what == "end":
        running = [task for task in world.live if task.status.state is TaskState.RUNNING]
        if running:
            world.see(running[number % len(running)], _ENDS[number % 3])
    else:
        node = world.tables.nodes.get(NODES[number % 3])
        assert node is not None
        if what == "availability":
            world.put(replace(node, spec=replace(node.spec, availability=("active", "drain", "pause")[number // 3])))
        else:
            world.put(replace(node, status=replace(node.status, state=("ready", "down")[number // 3])))


@settings(max_examples=200, deadline=None)
@given(replicas=st.integers(0, 6), what=steps, order=orders, action=actions)
def test_counts_add_up_whatever_happens(replicas: int, what: list[tuple[str, int]], order: str, action: str) -> None:
    world = World()
    world.nodes(*NODES)
    update = update_config(order=order, failure_action=action)
    world.replicated(replicas, template(restart_policy=policy(delay=0)), update_config=update)
    for name, number in what:
        take(world, name, number)
        world.settle()
        mode = world.service.spec.mode.replicated
        assert mode is not None
        live = Counter(task.slot for task in world.live)
        slots = {task.slot for task in world.tasks if task.desired_state < TaskState.REMOVE}
        assert len(slots) == mode.replicas
        assert max(live.values(), default=0) <= 2
        reap(world)


def reap(world: World) -> None:
    """Reap, and see that nobody notices but the history."""
    before = {task.id for task in world.live}
    if keys := sorted({housekeeping.slot_key(task) for task in world.tasks}):
        world.decide(housekeeping.reap_records, *keys)
    assert before == {task.id for task in world.live}
    assert not world.decide(), "what was reaped is not missed"


@given(used=st.sets(st.integers(1, 50)), count=st.integers(0, 20))
def test_free_numbers_are_the_lowest(used: set[int], count: int) -> None:
    found = free_numbers(used, count)
    assert len(found) == count
    assert found == sorted(set(range(1, 100)) - used)[:count]


@given(seconds=st.floats(0, 4000), streak=st.integers(0, 200), seed=st.integers())
def test_delays_stay_between_the_policys_and_the_limit(seconds: float, streak: int, seed: int) -> None:
    rule: RestartPolicy = policy(delay=seconds)
    first = (rule.delay or 0) / 1e9
    wait = delay(rule, streak, random.Random(seed))
    assert first <= wait <= max(LONGEST_DELAY, first)


@given(st.lists(st.tuples(st.sampled_from(list(TaskState)), st.sampled_from(list(TaskState))), min_size=1, max_size=6))
def test_a_slot_divides_its_tasks(states: list[tuple[TaskState, TaskState]]) -> None:
    tasks = [
        Task(id=str(number), slot=1, created_at=number, desired_state=wanted, status=TaskStatus(state=seen))
        for number, (wanted, seen) in enumerate(states)
    ]
    slot = Slot(reversed(tasks))
    assert sorted([*slot.tasks, *slot.leaving], key=lambda task: task.created_at) == tasks
    assert [task.created_at for task in slot.tasks] == sorted(task.created_at for task in slot.tasks)
    assert slot.live == [task for task in tasks if task.live]
