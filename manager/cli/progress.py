"""Whether a service has become what was asked for: a pure judgement of its tasks.

`judge` is called with what the manager knows, again and again; what has to be remembered from one look to the next
(since when all is well, when something last moved) is in the `Progress` that it returns and gets back.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from common.clock import seconds
from common.model import Service, Task, TaskState
from common.model.service import UpdateStatus
from manager.cli.service_rows import waiting

DEADLINE = 600.0
MONITOR = 5.0
# A slot whose task failed so often since the wait began will not run. With restarts backing off that is over a minute:
# time enough for a service that fails until another one (its database) is up. A rejection is seldom a matter of time.
LOOP_FAILURES = 5
LOOP_REJECTIONS = 2
_SHORT_ID = 12
_PAUSED = {"paused": "service update paused", "rollback_paused": "service rollback paused"}
_WAITING_MESSAGE = "pending task scheduling"


class Verdict(enum.Enum):
    WAITING = "waiting"
    VERIFYING = "verifying"
    CONVERGED = "converged"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in (Verdict.CONVERGED, Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class Line:
    """One slot: how far its task is, and its trouble if it has any."""

    label: str
    state: TaskState | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the wait is for.

    `rollback` says that a rollback was asked for. `timeout` is in seconds without progress. `down` are ids of nodes
    whose tasks do not count.
    """

    timeout: float = DEADLINE
    rollback: bool = False
    down: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Progress:
    """One look: `done` of `wanted` slots, a line each, and the reasons when it failed.

    `wake_at` is when the judgement can change though nothing happens; `known_failures` are tasks that had failed before
    the first look.
    """

    verdict: Verdict
    done: int
    wanted: int
    lines: tuple[Line, ...] = ()
    reasons: tuple[str, ...] = ()
    rolling_back: bool = False
    note: str = ""
    wake_at: float | None = None
    stable_since: float | None = None
    moved_at: float = 0.0
    mark: tuple[int, int] = (-1, -1)
    known_failures: frozenset[str] = field(default=frozenset())
    failures: int = 0


def judge(
    service: Service, tasks: Sequence[Task], now: float, previous: Progress | None = None, wish: Wish | None = None
) -> Progress:
    """Judge a service by its up-to-date tasks (those of its present specification, ended ones included)."""
    wish = wish or Wish()
    slots = _slots(service, tasks, wish.down)
    known = previous.known_failures if previous else frozenset(task.id for task in tasks if _failed(task))
    done = sum(1 for slot in slots.values() if slot.done)
    wanted = _wanted(service, slots)
    mark = max((done, sum(slot.reached for slot in slots.values())), previous.mark if previous else (-1, -1))
    moved_at = now if previous is None or mark > previous.mark else previous.moved_at
    well = done == wanted == sum(1 for slot in slots.values() if slot.live or slot.done) and bool(
        wanted or not _global(service)
    )
    failures = sum(len(slot.failures(known)) for slot in slots.values())
    stable = previous is not None and failures <= previous.failures
    since = previous.stable_since if well and stable and previous else None
    seen = Progress(
        verdict=Verdict.WAITING,
        done=done,
        wanted=wanted,
        lines=_numbered(service, slots, wanted),
        rolling_back=_rolling_back(service.update_status),
        stable_since=now if well and since is None else since,
        moved_at=moved_at,
        mark=mark,
        known_failures=known,
        failures=failures,
        wake_at=moved_at + wish.timeout,
        note=waiting(service),
    )
    return _decide(service, slots, seen, now, wish)


@dataclass(frozen=True, slots=True)
class _Slot:
    """The tasks of a slot (for a global service, of a node): the current one first, then those that ended."""

    name: str
    current: Task
    tasks: tuple[Task, ...]
    finishes: bool

    @property
    def live(self) -> bool:
        return self.current.live

    @property
    def done(self) -> bool:
        state = self.current.status.state
        if state is TaskState.COMPLETE and self.finishes:
            return True
        return not self.finishes_only and self.live and state is TaskState.RUNNING

    @property
    def finishes_only(self) -> bool:
        return self.current.job_iteration is not None

    @property
    def reached(self) -> int:
        return int(min(self.current.status.state, TaskState.COMPLETE))

    @property
    def line(self) -> Line:
        state = None if self.current.desired_state > TaskState.RUNNING and not self.done else self.current.status.state
        waits = self.current.desired_state is TaskState.READY  # then its own trouble is that it does
        own, last = _trouble(self.current), self.last_error
        return Line(self.name, state, (last or own) if waits else (own or last))

    @property
    def last_error(self) -> str:
        """Why the task before the current one ended, as long as the current one does not run."""
        if self.done or self.current.status.state is TaskState.RUNNING:
            return ""
        return next((_trouble(task) for task in self.tasks if _failed(task)), "")

    def failures(self, known: Collection[str]) -> list[Task]:
        return [task for task in self.tasks if _failed(task) and task.id not in known]


def _slots(service: Service, tasks: Sequence[Task], down: Collection[str]) -> dict[tuple[int, str], _Slot]:
    """Group tasks; of a slot's living tasks the least one in desired state is current, then the least advanced."""
    groups: dict[tuple[int, str], list[Task]] = {}
    for task in tasks:
        counts = task.desired_state <= TaskState.COMPLETE or _failed(task) or task.status.state is TaskState.COMPLETE
        if counts and (task.node_id not in down or not task.live):
            groups.setdefault((task.slot, task.node_id if _global(service) else ""), []).append(task)
    made = {}
    for key, group in groups.items():
        latest = _iteration(service, group)
        living = [task for task in latest if task.live]
        if latest:
            current = min(living, key=_standing) if living else max(latest, key=lambda task: task.created_at)
            name = key[1] or str(key[0])
            made[key] = _Slot(name, current, tuple(sorted(latest, key=lambda t: -t.created_at)), _finishes(service))
    return _within(service, made)


def _standing(task: Task) -> tuple[int, int, float]:
    return task.desired_state, task.status.state, -task.created_at


def _numbered(service: Service, slots: Mapping[tuple[int, str], _Slot], wanted: int) -> tuple[Line, ...]:
    """Make the lines: slots are numbered from 1 on, those beyond the wanted ones (about to leave) are not shown."""
    ordered = [slots[key].line for key in sorted(slots)]
    if _global(service):
        return tuple(replace(line, label=line.label[:_SHORT_ID]) for line in ordered)
    return tuple(replace(line, label=str(number)) for number, line in enumerate(ordered[:wanted], 1))


def _iteration(service: Service, group: Iterable[Task]) -> list[Task]:
    """Keep a job's tasks of its present iteration."""
    if service.job_status is None:
        return list(group)
    return [task for task in group if task.job_iteration == service.job_status.job_iteration]


def _within(service: Service, slots: dict[tuple[int, str], _Slot]) -> dict[tuple[int, str], _Slot]:
    """Leave out slots that hold nothing any more and are not asked for (after a scale-down)."""
    replicated = service.spec.mode.replicated
    if replicated is None:
        return slots
    surplus = len(slots) - (replicated.replicas or 0)
    ended = sorted((key for key, slot in slots.items() if not slot.live and not slot.done), reverse=True)
    for key in ended[: max(surplus, 0)]:
        del slots[key]
    return slots


def _global(service: Service) -> bool:
    return service.spec.mode.global_ is not None or service.spec.mode.global_job is not None


def _finishes(service: Service) -> bool:
    """Whether a task that completed is as good as one that runs: jobs, and one-shots that are not restarted."""
    policy = service.spec.task_template.restart_policy
    job = service.spec.mode.replicated_job is not None or service.spec.mode.global_job is not None
    return job or (policy is not None and policy.condition in ("none", "on-failure"))


def _wanted(service: Service, slots: Mapping[tuple[int, str], _Slot]) -> int:
    mode = service.spec.mode
    if mode.replicated is not None:
        return 1 if mode.replicated.replicas is None else mode.replicated.replicas
    if mode.replicated_job is not None:
        job = mode.replicated_job
        return job.total_completions or job.max_concurrent or 1
    return len(slots)


def _decide(
    service: Service, slots: Mapping[tuple[int, str], _Slot], seen: Progress, now: float, wish: Wish
) -> Progress:
    held = holding(service.update_status)
    if held or service.schedule_status is not None:  # a scheduled job runs when it is due
        return replace(seen, verdict=Verdict.CONVERGED, note=held or seen.note)
    if reasons := _stopped(service.update_status, wish):
        return replace(seen, verdict=Verdict.FAILED, reasons=reasons)
    if reasons := _hopeless(service, slots, seen.known_failures):
        return replace(seen, verdict=Verdict.FAILED, reasons=reasons)
    if seen.stable_since is not None:
        return _verify(service, seen, now)
    if now - seen.moved_at >= wish.timeout:
        why = [f"{_task_name(service, slot)}: {slot.line.trouble}" for slot in slots.values() if slot.line.trouble]
        head = f"no progress for {wish.timeout:g} seconds: {seen.done} out of {seen.wanted} tasks"
        waits = (f"the service {seen.note}",) if seen.note else ()
        return replace(seen, verdict=Verdict.FAILED, reasons=(head, *waits, *_distinct(why)))
    return seen


def _verify(service: Service, seen: Progress, now: float) -> Progress:
    """Everything runs: that is enough for a job and after a finished update, else it must stay so for a while."""
    assert seen.stable_since is not None
    status = service.update_status
    if (
        service.job_status is not None
        or _jobs(service)
        or (status and status.state in ("completed", "rollback_completed"))
    ):
        return replace(seen, verdict=Verdict.CONVERGED)
    config = service.spec.update_config
    stable_at = seen.stable_since + (seconds(config.monitor) if config and config.monitor else MONITOR)
    if now >= stable_at:
        return replace(seen, verdict=Verdict.CONVERGED)
    left = int(stable_at - now) + 1
    return replace(
        seen,
        verdict=Verdict.VERIFYING,
        note=f"Waiting {left} seconds to verify that tasks are stable...",
        wake_at=min(stable_at, now + 1),
    )


def _jobs(service: Service) -> bool:
    return service.spec.mode.replicated_job is not None or service.spec.mode.global_job is not None


def holding(status: UpdateStatus | None) -> str:
    """Return what an update says that has changed its canary and holds there: for now that is as far as it goes."""
    return status.message if status is not None and status.message.startswith("canary: ") else ""


def _stopped(status: UpdateStatus | None, wish: Wish) -> tuple[str, ...]:
    """Say why the manager itself gave the update up."""
    if status is None:
        return ()
    if status.state in _PAUSED:
        return (f"{_PAUSED[status.state]}: {status.message}",)
    if status.state == "rollback_completed" and not wish.rollback:
        return (f"service rolled back: {status.message}",)
    return ()


def _hopeless(service: Service, slots: Mapping[tuple[int, str], _Slot], known: Collection[str]) -> tuple[str, ...]:
    """Find slots that fail again and again, or have failed for good; an update that watches failures decides itself."""
    if _watched(service):
        return ()
    reasons = []
    for slot in slots.values():
        failures = slot.failures(known)
        rejected = [task for task in failures if task.status.state is TaskState.REJECTED]
        if (
            len(failures) >= LOOP_FAILURES
            or len(rejected) >= LOOP_REJECTIONS
            or (failures and _exhausted(service, slot))
        ):
            times = "" if len(failures) == 1 else f" ({len(failures)} times)"
            reasons.append(f"{_task_name(service, slot)}: {_trouble(failures[0])}{times}")
    return _distinct(reasons)


def _watched(service: Service) -> bool:
    status, config = service.update_status, service.spec.update_config
    if status is None or status.state not in ("updating", "rollback_started"):
        return False
    return config is None or config.failure_action != "continue"


def _exhausted(service: Service, slot: _Slot) -> bool:
    """Whether the restart policy leaves a slot without a task."""
    policy = service.spec.task_template.restart_policy
    if slot.live or policy is None:
        return False
    if policy.condition == "none":
        return True
    return bool(policy.max_attempts) and len([t for t in slot.tasks if _failed(t)]) > (policy.max_attempts or 0)


def _failed(task: Task) -> bool:
    return task.status.state in (TaskState.FAILED, TaskState.REJECTED)


def _trouble(task: Task) -> str:
    status = task.status
    if status.err:
        return status.err
    if _failed(task):
        return status.message or "the task failed"
    waiting = status.state is TaskState.PENDING and status.message not in ("", _WAITING_MESSAGE)
    return status.message if waiting and "no suitable node" in status.message else ""


def _task_name(service: Service, slot: _Slot) -> str:
    return f"{service.name}.{slot.name}"


def _rolling_back(status: UpdateStatus | None) -> bool:
    return status is not None and status.state.startswith("rollback")


def _distinct(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reasons))
