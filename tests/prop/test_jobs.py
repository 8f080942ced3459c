"""Jobs and their schedules, whatever happens to their tasks and whenever they are looked at."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import TaskState
from common.spec import cron
from tests.fakes.world import replace
from tests.unit.manager.orchestrate.test_jobs import COMPLETE, FAILED, end, iteration, world_of
from tests.unit.manager.orchestrate.test_schedules import MINUTE, executions, scheduled

EXPRESSIONS = [
    "* * * * *",
    "*/7 * * * *",
    "30 2 * * *",
    "0 6-20/2 * * mon-fri",
    "15 3 1 jan,jul *",
    "0 0 29 2 *",
    "*/20 * * * * *",
]


actions = st.lists(
    st.one_of(st.tuples(st.sampled_from(["complete", "fail", "force", "stopped", "wait", "total"]), st.integers(0, 6))),
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(total=st.integers(0, 6), concurrent=st.integers(0, 4), what=actions)
def test_parallelism_is_respected_and_no_slot_completes_twice(
    total: int, concurrent: int, what: list[tuple[str, int]]
) -> None:
    world = world_of(total, concurrent)
    for name, number in what:
        if name == "force":
            world.force()
        elif name == "stopped":
            world.stopped()
        elif name == "wait":
            world.pass_time(number * 10)
        elif name == "total":
            mode = world.service.spec.mode
            assert mode.replicated_job is not None
            world.change(mode=replace(mode, replicated_job=replace(mode.replicated_job, total_completions=number)))
        else:
            end(world, COMPLETE if name == "complete" else FAILED, number)
        world.settle()
        assert len(world.live) <= concurrent
        completed = Counter(
            (iteration(task), task.slot)
            for task in world.tasks
            if task.status.state is COMPLETE and task.desired_state < TaskState.REMOVE
        )
        assert all(count == 1 for count in completed.values())


@settings(max_examples=80, deadline=None)
@given(
    gaps=st.lists(st.floats(0.5, 300), max_size=15),
    concurrency=st.sampled_from(["allow", "forbid", "replace"]),
    completes=st.booleans(),
)
def test_a_due_time_never_begins_two_executions(gaps: list[float], concurrency: str, *, completes: bool) -> None:
    """Whenever it is looked at, as after a manager was away: what was decided last is all that is remembered."""
    world = scheduled(concurrency=concurrency)
    seen: list[float] = []
    for gap in gaps:
        before = world.service.schedule_status
        world.pass_time(gap)
        world.settle()
        after = world.service.schedule_status
        assert before is not None
        assert after is not None
        if after.last_at != before.last_at:
            seen.append(after.last_at)
            assert after.last_at % MINUTE == 0
            assert 0 <= world.now - after.last_at < MINUTE
        if completes:
            end(world, TaskState.COMPLETE)
            world.stopped()
            world.settle()
    assert seen == sorted(set(seen))
    assert len(executions(world)) <= len(seen)
    newest = world.service.job_status
    assert newest is not None
    if completes and seen:
        assert newest.job_iteration.index == len(seen) - 1, "each due time that was found has its execution"


@settings(max_examples=60, deadline=None)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    begin=st.integers(1_770_000_000, 1_810_000_000),
    steps=st.lists(st.integers(1, 90_000), min_size=1, max_size=12),
)
def test_each_due_time_is_found_once_and_the_last_is_not_missed(
    expression: str, zone: str, begin: int, steps: list[int]
) -> None:
    found, last, now = [], float(begin), float(begin)
    for step in steps:
        now += step
        due = cron.latest(expression, zone, last, now)
        if due is not None:
            found.append(due)
            last = due
            assert due <= now < cron.following(expression, zone, due)
        else:
            assert cron.following(expression, zone, last) > now
    assert all(one < other for one, other in pairwise(found))
