"""How many tasks an autoscaled service is to have, by what its tasks use: up fast, down slow. Pure.

The number needed is the sum of what the running tasks use, divided by what one is to use: so it does not depend on how
many there are, and a task that has just started does not distort it. `recommend` is one measurement; `choose` looks at
the last recommendations: more tasks when the least of them in the `up` window says so, fewer when the most in the
`down` window does. Both windows must be filled: a manager that has just begun to lead knows too little to take tasks
away, and takes none for `SETTLING_INTERVALS` rounds, however short the window is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from common.clock import SECOND
from common.model import Service, Task, TaskState
from common.spec import autoscale
from common.spec.autoscale import Policy
from common.text.quantities import format_label_duration
from manager.store.measurements import Sample

# The number is right while the tasks use no more than this fraction above or below the target, on average.
TOLERANCE = 0.1
# After a takeover the first rounds lack the nodes that have not come back yet.
SETTLING_INTERVALS = 3
# Far above rounding errors of sums of shares, far below what anybody measures.
_EPSILON = 1e-6
# Far more than any service may have.
_MOST_NEEDED = 1e9


@dataclass(frozen=True, slots=True)
class Load:
    """What tasks use of one resource: the values of `measured` tasks add up to `total`; `target` is for one task.

    `share`: values are shares of what a task reserves, else plain numbers. `early` counts tasks that are starting or
    have just started; `missing` names those that should be measured and are not, with the reason.
    """

    name: str
    target: float
    total: float
    measured: int
    early: int
    missing: tuple[str, ...]
    share: bool

    def needed(self, replicas: int, *, at_least: bool) -> int:
        """Return how many tasks are needed; `at_least` counts early ones as idle, else they count as fully used."""
        # A quotient of numbers that are both finite need not be.
        tasks = min(self.total / self.target, _MOST_NEEDED) + (0 if at_least else self.early)
        if not at_least and self.missing:
            return max(replicas, math.ceil(tasks - _EPSILON))
        if abs(tasks / max(replicas, 1) - 1) <= TOLERANCE:
            return replicas
        return math.ceil(tasks - _EPSILON)

    def __str__(self) -> str:
        if not self.measured:
            return f"{self.name} not measured yet (target {self._format_value(self.target)})"
        mean = self._format_value(self.total / self.measured)
        return f"{self.name} at {mean} (target {self._format_value(self.target)})"

    def _format_value(self, value: float) -> str:
        return f"{value * 100:.0f}%" if self.share else f"{value:.6g}"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """How many tasks one measurement asks for: at least `least`, and `most` if what is unknown counts as fully used."""

    at: float
    least: int
    most: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scaling:
    """A new number of tasks, and the reason for a person."""

    replicas: int
    message: str


def measure(
    service: Service, policy: Policy, tasks: Iterable[Task], samples: Mapping[str, Sample], now: float
) -> Sequence[Load]:
    """Return what a service's tasks use of each resource that it has a target for."""
    live = [task for task in tasks if task.live]
    grown = [task for task in live if _is_warmed_up(task, policy, now)]
    placed = sum(task.status.state >= TaskState.ASSIGNED for task in live)
    early = placed - len(grown)
    return [_load(name, target, unit, grown, early, samples) for name, target, unit in _targets(service, policy)]


def recommend(service: Service, loads: Sequence[Load], now: float) -> Recommendation | None:
    """Return how many tasks are needed; None when nothing was measured."""
    if not any(load.measured for load in loads):
        return None
    replicas = service.spec.mode.replicas
    heaviest = max((load for load in loads if load.measured), key=lambda load: load.total / load.target)
    least = heaviest.needed(replicas, at_least=True)
    most = max(load.needed(replicas, at_least=False) for load in loads)
    return Recommendation(now, least, max(least, most), str(heaviest))


def choose(
    service: Service, policy: Policy, history: Sequence[Recommendation], now: float, leads_since: float = -math.inf
) -> Scaling | None:
    """Decide on another number of tasks by the recommendations so far, the oldest first; None keeps the present one.

    `leads_since` is when this manager began to lead, in Unix seconds.
    """
    replicas = service.spec.mode.replicas
    if replicas != policy.within(replicas):
        wanted = policy.within(replicas)
        return Scaling(wanted, f"scaled {replicas} → {wanted}: {policy.minimum} to {policy.maximum} are allowed")
    up = min((each.least for each in _window(history, policy.up, now)), default=replicas)
    down = max((each.most for each in _window(history, policy.down, now)), default=replicas)
    if up > replicas and _may_scale(service, policy, now, up=True):
        return _scaling(replicas, policy, up, history[-1].reason)
    settled = now >= leads_since + SETTLING_INTERVALS * policy.interval
    if settled and down < replicas and _may_scale(service, policy, now, up=False):
        reason = f"{history[-1].reason}, fewer needed for {format_label_duration(policy.down)}"
        return _scaling(replicas, policy, down, reason)
    return None


def describe_load(service: Service, policy: Policy, loads: Sequence[Load], now: float) -> str:
    """Describe the measurements to a person, and what prevents scaling."""
    parts = [", ".join(map(str, loads))]
    replicas = service.spec.mode.replicas
    seen = recommend(service, loads, now)
    if seen is not None and seen.least > policy.maximum:
        parts.append(f"{seen.least} needed, {policy.maximum} is the maximum")
    if missing := [name for load in loads for name in load.missing]:
        others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        parts.append(f"not scaled down while {missing[0]}{others} not measured")
    if seen is not None and seen.most < replicas > policy.minimum and not missing:
        parts.append(f"{policy.within(seen.most)} would do")
    return "; ".join(parts)


# --- one measurement ---


def _is_warmed_up(task: Task, policy: Policy, now: float) -> bool:
    """Whether a task has run for long enough to be typical: a program that starts uses other amounts."""
    since = task.restart.running_since
    return task.status.state is TaskState.RUNNING and since <= now - policy.up


def _targets(service: Service, policy: Policy) -> Iterator[tuple[str, float, float]]:
    """Yield each target's name, its value, and what a task reserves in the unit of the samples; 0 for plain values."""
    reserved = autoscale.reservations(service.spec)
    if policy.cpu:
        yield "cpu", policy.cpu, reserved.nano_cpus / SECOND
    if policy.memory:
        yield "memory", policy.memory, float(reserved.memory_bytes)
    if policy.metric is not None:
        yield policy.metric.name, policy.metric.target, 0.0


def _load(
    name: str, target: float, unit: float, tasks: Sequence[Task], early: int, samples: Mapping[str, Sample]
) -> Load:
    key = name if unit else "metric"
    total, measured, missing = 0.0, 0, []
    for task in tasks:
        sample = samples.get(task.id)
        value: float | None = getattr(sample.usage, key) if sample is not None else None
        if value is None or not math.isfinite(value):
            error = sample.usage.error if sample is not None else ""
            missing.append(f"task {task.service_name}.{task.slot}" + (f" ({error})" if error else ""))
        else:
            measured += 1
            total += max(value, 0.0) / (unit or 1.0)
    return Load(name, target, total, measured, early, tuple(missing), share=bool(unit))


# --- over time ---


def _window(history: Sequence[Recommendation], seconds: float, now: float) -> Collection[Recommendation]:
    """Return the recommendations of the last `seconds`; none when the history is shorter than that."""
    if not history or history[0].at > now - seconds:
        return ()
    return [each for each in history if each.at > now - seconds]


def _may_scale(service: Service, policy: Policy, now: float, *, up: bool) -> bool:
    """Whether the number may change in this direction: a manual change is not undone within the `down` window."""
    status = service.autoscale_status
    if status is None or not status.by_hand or now >= status.scaled_at + policy.down:
        return True
    return (status.replicas > status.previous) == up


def _scaling(replicas: int, policy: Policy, wanted: int, reason: str) -> Scaling | None:
    allowed = policy.within(wanted)
    if allowed == replicas:
        return None
    bound = "maximum" if allowed < wanted else "minimum"
    limit = f" ({wanted} needed, {allowed} is the {bound})" if allowed != wanted else ""
    return Scaling(allowed, f"scaled {replicas} → {allowed}{limit}: {reason}")
