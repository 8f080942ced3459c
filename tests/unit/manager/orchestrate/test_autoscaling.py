"""How many tasks an autoscaled service is to have, decided by hand-made measurements."""

import math
from collections import deque
from collections.abc import Sequence

import pytest

from common.clock import SECOND
from common.model import Service, Task, TaskState, TaskStatus
from common.model.service import (
    AutoscaleStatus,
    Replicated,
    Reservations,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from common.model.task import RestartRecord
from common.spec import autoscale
from common.wire.usage_messages import TaskUsage
from manager.orchestrate.autoscaling import (
    SETTLING_INTERVALS,
    Load,
    Recommendation,
    choose,
    describe_load,
    measure,
    recommend,
)
from manager.store.measurements import Sample
from tests.fakes.world import replace

NOW = 10_000.0


def service(replicas: int, text: str = "min=2,max=10,cpu=50%", **other: object) -> Service:
    """Make a service whose tasks reserve half a core and 100 bytes each."""
    reserved = Reservations(nano_cpus=SECOND // 2, memory_bytes=100)
    spec = ServiceSpec(
        name="web",
        labels={autoscale.LABEL: text},
        mode=ServiceMode(replicated=Replicated(replicas=replicas)),
        task_template=TaskSpec(resources=Resources(reservations=reserved)),
    )
    return Service(id="s", spec=spec, **other)  # type: ignore[arg-type]


def task(number: int, state: TaskState = TaskState.RUNNING, age: float = 60.0) -> Task:
    return Task(
        id=f"t{number}",
        service_id="s",
        service_name="web",
        slot=number,
        node_id="n1",
        status=TaskStatus(state=state),
        desired_state=TaskState.RUNNING,
        restart=RestartRecord(running_since=NOW - age if state is TaskState.RUNNING else 0.0),
    )


def look(found: Service, *uses: TaskUsage | None, tasks: Sequence[Task] = ()) -> Sequence[Load]:
    """Measure a service with a running task for each use; None is a task without a measurement."""
    policy = autoscale.of(found.spec)
    assert policy is not None
    samples = {f"t{number}": Sample(NOW, each) for number, each in enumerate(uses, 1) if each is not None}
    running = [task(number) for number in range(1, len(uses) + 1)]
    return measure(found, policy, [*running, *tasks], samples, NOW)


def cpu(share: float) -> TaskUsage:
    """Use a share of the half core that is reserved."""
    return TaskUsage(task_id="", cpu=share / 2)


def advice(found: Service, *uses: TaskUsage | None, tasks: Sequence[Task] = ()) -> tuple[int, int] | None:
    seen = recommend(found, look(found, *uses, tasks=tasks), NOW)
    return None if seen is None else (seen.least, seen.most)


# --- one look ---


@pytest.mark.parametrize(
    ("shares", "needed"),
    [
        ([0.5, 0.5], 2),
        ([1.0, 1.0], 4),
        ([2.0, 0.0], 4),
        ([0.54, 0.54], 2),
        ([0.56, 0.56], 3),
        ([0.46, 0.46, 0.46], 3),
        ([0.2, 0.2, 0.2], 2),
        ([0.0, 0.0], 0),
        ([9.0, 9.0], 36),
        ([0.1] * 10, 2),
    ],
)
def test_what_is_used_divided_by_what_one_is_to_use(shares: list[float], needed: int) -> None:
    """Up to a tenth above or below the target nothing changes."""
    assert advice(service(len(shares)), *map(cpu, shares)) == (needed, needed)


@pytest.mark.parametrize(("target", "metric"), [("5e-324", 1.0), ("1e-300", 1e15), ("1", 1e308)])
def test_no_target_and_no_metric_needs_endless_tasks(target: str, metric: float) -> None:
    found = service(2, f"min=1,max=9,metric=jobs,port=80,target={target}")
    history = [Recommendation(NOW - 20.0, 2, 2)]
    for number in range(2):
        seen = recommend(found, look(found, TaskUsage(task_id="", metric=metric)), NOW - 1 + number)
        assert seen is not None
        history.append(seen)
    policy = autoscale.of(found.spec)
    assert policy is not None
    scaling = choose(found, policy, history, NOW)
    assert scaling is not None
    assert scaling.replicas == 9
    assert len(scaling.message) < 200


def test_the_target_that_needs_most_counts() -> None:
    found = service(2, "min=1,max=9,cpu=50%,memory=50%,metric=jobs,port=80,target=10")
    use = TaskUsage(task_id="", cpu=0.1, memory=100.0, metric=10.0)
    seen = recommend(found, look(found, use, use), NOW)
    assert seen == Recommendation(NOW, 4, 4, "memory at 100% (target 50%)")
    busy = replace(use, metric=40.0)
    assert recommend(found, look(found, busy, busy), NOW) == Recommendation(NOW, 8, 8, "jobs at 40 (target 10)")


def test_a_young_task_makes_nothing_grow_and_nothing_shrink() -> None:
    """Its first seconds are not measured, and then it is taken for one with nothing to do, or with enough."""
    young = [task(3, age=5.0), task(4, TaskState.PREPARING)]
    assert advice(service(4), cpu(1.0), cpu(1.0), tasks=young) == (4, 6)
    assert advice(service(4), cpu(0.2), cpu(0.2), tasks=young) == (1, 3)


def test_a_task_that_finds_no_node_is_no_reason_to_keep_it() -> None:
    waiting = [task(3, TaskState.PENDING), task(4, TaskState.PENDING)]
    assert advice(service(4), cpu(0.2), cpu(0.2), tasks=waiting) == (1, 1)


def test_nothing_is_taken_away_while_a_task_is_not_measured() -> None:
    found = service(3)
    unknown = TaskUsage(task_id="", error="connection refused")
    assert advice(found, cpu(0.1), cpu(0.1), unknown) == (1, 3)
    assert advice(found, cpu(1.5), cpu(1.5), None) == (6, 6)
    assert advice(found, None, None, None) is None
    assert advice(found, cpu(math.nan), cpu(0.1), cpu(0.1)) == (1, 3)


def test_ended_and_unwanted_tasks_do_not_count() -> None:
    gone = [task(3, TaskState.FAILED), replace(task(4), desired_state=TaskState.SHUTDOWN)]
    assert advice(service(2), cpu(0.5), cpu(0.5), tasks=gone) == (2, 2)


def test_how_it_stands_is_told() -> None:
    found = service(3, "min=2,max=4,cpu=50%")
    policy = autoscale.of(found.spec)
    assert policy is not None

    def said(*uses: TaskUsage | None) -> str:
        return describe_load(found, policy, look(found, *uses), NOW)

    assert said(cpu(0.5), cpu(0.5), cpu(0.5)) == "cpu at 50% (target 50%)"
    assert said(cpu(1), cpu(1), cpu(1)) == "cpu at 100% (target 50%); 6 needed, 4 is the maximum"
    assert said(cpu(0), cpu(0), cpu(0)) == "cpu at 0% (target 50%); 2 would do"
    refused = TaskUsage(task_id="", error="connection refused")
    assert said(cpu(0.1), refused, None) == (
        "cpu at 10% (target 50%); not scaled down while task web.2 (connection refused) and 1 more are not measured"
    )
    assert said(None, None, None).startswith("cpu not measured yet (target 50%)")


# --- over time ---


def history(*recommended: tuple[float, int]) -> list[Recommendation]:
    """Make recommendations: how many seconds ago, and how many tasks."""
    return [Recommendation(NOW - ago, count, count, "cpu at x") for ago, count in recommended]


def chosen(found: Service, *recommended: tuple[float, int]) -> int | None:
    policy = autoscale.of(found.spec)
    assert policy is not None
    scaling = choose(found, policy, history(*recommended), NOW)
    return scaling.replicas if scaling is not None else None


def flat(count: int, seconds: float) -> list[tuple[float, int]]:
    return [(ago, count) for ago in range(int(seconds), -1, -5)]


def test_up_needs_the_short_window_filled_and_takes_its_least() -> None:
    found = service(3)
    assert chosen(found, (0, 9)) is None
    assert chosen(found, (10, 9), (5, 9), (0, 9)) is None
    assert chosen(found, (15, 2), (10, 9), (5, 6), (0, 9)) == 6
    assert chosen(found, (15, 9), (10, 9), (5, 3), (0, 9)) is None, "a spike, not a load"


def test_down_needs_the_long_window_filled_and_takes_its_most() -> None:
    found = service(8)
    assert chosen(found, *flat(2, 295)) is None
    assert chosen(found, *flat(2, 300)) == 2
    assert chosen(found, *flat(2, 200), (0, 2)) is None
    assert chosen(found, (300, 2), (290, 5), *flat(3, 280)) == 5
    assert chosen(found, (300, 9), *flat(3, 290)) == 3, "what was before the window does not count"


def test_nothing_is_taken_away_right_after_a_takeover() -> None:
    policy = autoscale.of(service(8).spec)
    assert policy is not None
    settling = SETTLING_INTERVALS * policy.interval
    lower, higher = history(*flat(2, 300)), history(*flat(9, 300))
    assert choose(service(8), policy, lower, NOW, NOW - settling + 0.1) is None
    assert choose(service(8), policy, lower, NOW, NOW - settling) is not None
    assert choose(service(8), policy, higher, NOW, NOW) is not None


def test_the_limits_hold_and_are_told() -> None:
    policy = autoscale.of(service(3).spec)
    assert policy is not None
    up = choose(service(3), policy, history((15, 14), (0, 14)), NOW)
    assert up is not None
    assert (up.replicas, up.message) == (10, "scaled 3 → 10 (14 needed, 10 is the maximum): cpu at x")
    down = choose(service(3), policy, history(*flat(0, 300)), NOW)
    assert down is not None
    assert down.message == "scaled 3 → 2 (0 needed, 2 is the minimum): cpu at x, fewer needed for 5m"
    assert choose(service(10), policy, history((15, 14), (0, 14)), NOW) is None
    assert choose(service(2), policy, history(*flat(0, 300)), NOW) is None


def test_a_number_beyond_the_limits_is_brought_back() -> None:
    assert chosen(service(1)) == 2
    assert chosen(service(11)) == 10


@pytest.mark.parametrize(
    ("previous", "replicas", "needed", "ago", "result"),
    [
        (2, 6, 3, 299, None),
        (2, 6, 3, 300, 3),
        (2, 6, 9, 10, 9),
        (8, 4, 9, 299, None),
        (8, 4, 9, 300, 9),
        (8, 4, 2, 10, 2),
    ],
)
def test_a_manual_number_is_kept_for_the_down_window(
    previous: int, replicas: int, needed: int, ago: float, result: int | None
) -> None:
    status = AutoscaleStatus(scaled_at=NOW - ago, previous=previous, replicas=replicas, by_hand=True)
    assert chosen(service(replicas, autoscale_status=status), *flat(needed, 600)) == result
    assert chosen(service(replicas, autoscale_status=replace(status, by_hand=False)), *flat(needed, 600)) == needed


def run(load: Sequence[float], replicas: int = 2, step: float = 5.0) -> list[int]:
    """Let a load, in shares of one task's reservation, go over time; return the number of tasks at each step."""
    found, counts = service(replicas), []
    policy = autoscale.of(found.spec)
    assert policy is not None
    recommendations: deque[Recommendation] = deque(maxlen=100)
    born = dict.fromkeys(range(replicas), -1000.0)
    for number, whole in enumerate(load):
        now = NOW + number * step
        tasks = [task(slot, age=-born[slot]) for slot in born]
        samples = {each.id: Sample(now, TaskUsage(task_id="", cpu=whole / len(tasks) / 2)) for each in tasks}
        seen = recommend(found, measure(found, policy, tasks, samples, now), now)
        if seen is not None:
            recommendations.append(seen)
        scaling = choose(found, policy, recommendations, now)
        if scaling is not None:
            found = autoscale.scale_to(found, scaling.replicas, scaling.message, now)
            born = {slot: born.get(slot, number * step) for slot in range(scaling.replicas)}
        counts.append(found.spec.mode.replicas)
    return counts


def test_a_steady_load_is_met_in_one_step_and_stays() -> None:
    counts = run([1.0] * 20 + [3.6] * 200)
    assert sorted(set(counts)) == [2, 8]
    assert counts.index(8) - 20 <= 4, "within 20 seconds of its beginning"


def test_a_load_that_comes_and_goes_is_not_followed() -> None:
    """Two minutes heavy, two minutes light: it stays at what the heavy ones need."""
    counts = run(([4.0] * 24 + [1.0] * 24) * 8)
    first = counts.index(8)
    assert set(counts[first:]) == {8}


def test_when_the_load_has_gone_it_shrinks_once_after_the_window() -> None:
    counts = run([4.0] * 30 + [1.0] * 100)
    assert counts[29] == 8
    shrunk = counts.index(2, 29)
    assert 58 <= shrunk - 30 <= 64
    assert set(counts[shrunk:]) == {2}
