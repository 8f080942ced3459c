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
from common.model.service import TaskSpec
from common.model.update import ACTIVE, ROLLBACKS, CanaryHolds, UpdateProgress, UpdateState, UpdateStatus
from manager.cli.progress.slots import Line, Slot, has_failed, number_slots, slots_of, trouble_of
from manager.cli.service.rows import waiting

DEADLINE = 600.0
MONITOR = 5.0
# A slot whose task failed so often since the wait began will not run. With restarts backing off that is over a minute:
# time enough for a service that fails until another one (its database) is up. A rejection is seldom a matter of time.
LOOP_FAILURES = 5
LOOP_REJECTIONS = 2
_TROUBLES_TOLD = 3
_MOMENT = 0.1
_PAUSED = {
    UpdateState.PAUSED: "service update paused",
    UpdateState.ROLLBACK_PAUSED: "service rollback paused",
}


class Verdict(enum.Enum):
    WAITING = "waiting"
    VERIFYING = "verifying"
    CONVERGED = "converged"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in (Verdict.CONVERGED, Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class WaitOptions:
    """What the wait is for.

    `rollback` says that a rollback was asked for, `executes` that a scheduled job was, before it is due. `timeout` is
    in seconds without progress. `down` are ids of nodes whose tasks do not count. `made` are ids of services that were
    just made: what has failed of them before the first look counts, too.
    """

    timeout: float = DEADLINE
    rollback: bool = False
    executes: bool = False
    down: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Progress:
    """One look: `done` of `wanted` slots, a line each, and the reasons when it failed; `holds`: at an update's canary.

    `wake_at` is when the judgement can change though nothing happens; `known_failures` are tasks that had failed before
    the first look. `failed` are all that have failed so far with the specification `template`: the manager keeps the
    last few records of a slot only, fewer than make a crash loop.
    """

    verdict: Verdict
    done: int
    wanted: int
    lines: tuple[Line, ...] = ()
    reasons: tuple[str, ...] = ()
    rolling_back: bool = False
    note: str = ""
    holds: bool = False
    wake_at: float | None = None
    stable_since: float | None = None
    moved_at: float = 0.0
    mark: tuple[int, int] = (-1, -1)
    known_failures: frozenset[str] = field(default=frozenset())
    failed: tuple[Task, ...] = ()
    template: TaskSpec | None = None
    failures: int = 0


def judge(
    service: Service,
    tasks: Sequence[Task],
    now: float,
    previous: Progress | None = None,
    options: WaitOptions | None = None,
    others: Sequence[Task] = (),
) -> Progress:
    """Judge a service by its up-to-date tasks (those of its present specification, ended ones included).

    `others`: where an update was rolled back, the tasks of its specification too.
    """
    options = options or WaitOptions()
    blamed = others or tasks
    tasks = _with_forgotten(service, tasks, previous)
    slots = slots_of(service, tasks, options.down)
    known = previous.known_failures if previous else _failures_before(service, tasks, options)
    told = _told(service)
    done = told.done if told is not None else sum(1 for slot in slots.values() if slot.done)
    wanted = told.of if told is not None else _wanted(service, slots)
    mark = max((done, sum(slot.reached for slot in slots.values())), previous.mark if previous else (-1, -1))
    moved_at = now if previous is None or mark > previous.mark else previous.moved_at
    well = done == wanted == sum(1 for slot in slots.values() if slot.live or slot.done) and bool(
        wanted or not service.spec.mode.is_global
    )
    failures = sum(len(slot.failures(known)) for slot in slots.values())
    stable = previous is not None and failures <= previous.failures
    since = previous.stable_since if well and stable and previous else None
    seen = Progress(
        verdict=Verdict.WAITING,
        done=done,
        wanted=wanted,
        lines=number_slots(service, slots, wanted),
        rolling_back=_rolling_back(service.update_status),
        stable_since=now if well and since is None else since,
        moved_at=moved_at,
        mark=mark,
        known_failures=known,
        failed=tuple(task for task in tasks if has_failed(task)),
        template=service.spec.task_template,
        failures=failures,
        wake_at=moved_at + options.timeout,
        note=waiting(service),
    )
    return _decide(service, slots, seen, now, options, blamed)


def _failures_before(service: Service, tasks: Sequence[Task], options: WaitOptions) -> frozenset[str]:
    """Return the tasks that had failed before what is waited for, as the first look finds them."""
    if service.id in options.made:
        return frozenset()
    return frozenset(task.id for task in tasks if has_failed(task))


def _told(service: Service) -> UpdateProgress | None:
    """Return how far an update is by the manager's own count; None where none goes on, and the tasks are counted."""
    status = service.update_status
    if status is None or status.state not in ACTIVE or status.progress is None or status.progress.waits_for:
        return None
    return status.progress


def is_undone(service: Service) -> bool:
    """Whether a rollback of a service is what ended last."""
    return service.update_status is not None and service.update_status.state is UpdateState.ROLLBACK_COMPLETED


def _with_forgotten(service: Service, tasks: Sequence[Task], previous: Progress | None) -> Sequence[Task]:
    """Add the failed tasks that were seen before and whose records the manager has removed since."""
    if previous is None or previous.template != service.spec.task_template:
        return tasks
    here = {task.id for task in tasks}
    return [*tasks, *(task for task in previous.failed if task.id not in here)]


def _wanted(service: Service, slots: Mapping[tuple[int, str], Slot]) -> int:
    mode = service.spec.mode
    if mode.replicated is not None:
        return mode.replicas
    if mode.replicated_job is not None:
        job = mode.replicated_job
        return job.total_completions or job.max_concurrent or 1
    return len(slots)


def _decide(
    service: Service,
    slots: Mapping[tuple[int, str], Slot],
    seen: Progress,
    now: float,
    options: WaitOptions,
    blamed: Sequence[Task],
) -> Progress:
    held = holding(service.update_status)
    idle = service.schedule_status is not None and not options.executes  # a scheduled job runs when it is due
    if held or idle:
        return replace(seen, verdict=Verdict.CONVERGED, note=held or seen.note, holds=bool(held))
    if reasons := _stopped(service.update_status, options):
        return replace(seen, verdict=Verdict.FAILED, reasons=(*reasons, *_troubles(service, blamed)))
    if reasons := _hopeless(service, slots, seen.known_failures):
        return replace(seen, verdict=Verdict.FAILED, reasons=reasons)
    if seen.stable_since is not None and (options.rollback or not seen.rolling_back):
        return _verify(service, seen, now)
    if now - seen.moved_at >= options.timeout:
        why = [f"{_task_name(service, slot)}: {slot.line.trouble}" for slot in slots.values() if slot.line.trouble]
        head = f"no progress for {options.timeout:g} seconds: {seen.done} out of {seen.wanted} tasks"
        waits = (f"the service {seen.note}",) if seen.note else ()
        return replace(seen, verdict=Verdict.FAILED, reasons=(head, *waits, *_distinct(why)))
    return seen


def _verify(service: Service, seen: Progress, now: float) -> Progress:
    """Everything runs: that is enough for a job and after a finished update, else it must stay so for a while.

    How long an update is watched is the manager's to say: it has ended when that has been long enough.
    """
    assert seen.stable_since is not None
    status = service.update_status
    if (
        service.job_status is not None
        or service.spec.mode.is_job
        or (status and status.state in (UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED))
    ):
        return replace(seen, verdict=Verdict.CONVERGED)
    config = service.spec.update_config
    stable_at = seen.stable_since + (seconds(config.monitor) if config and config.monitor else MONITOR)
    if told := _told(service):
        stable_at = max(told.monitor_until, now + _MOMENT)
    if now >= stable_at:
        return replace(seen, verdict=Verdict.CONVERGED)
    left = int(stable_at - now) + 1
    return replace(
        seen,
        verdict=Verdict.VERIFYING,
        note=f"Waiting {left} seconds to verify that tasks are stable...",
        wake_at=min(stable_at, now + 1),
    )


def holding(status: UpdateStatus | None) -> str:
    """Return what an update says that has changed its canary and holds there: for now that is as far as it goes."""
    return status.message if status is not None and isinstance(status.reason, CanaryHolds) else ""


def _stopped(status: UpdateStatus | None, options: WaitOptions) -> tuple[str, ...]:
    """Say why the manager itself gave the update up."""
    if status is None:
        return ()
    if status.state in _PAUSED:
        return (f"{_PAUSED[status.state]}: {status.message}",)
    if status.state is UpdateState.ROLLBACK_COMPLETED and not options.rollback:
        return (f"service rolled back: {status.message}",)
    return ()


def _troubles(service: Service, tasks: Iterable[Task]) -> tuple[str, ...]:
    """Say why the tasks failed that did so last, and others of the same specification."""
    failed = sorted(filter(has_failed, tasks), key=lambda task: -task.created_at)
    same = (task for task in failed if task.spec == failed[0].spec)
    reasons = _distinct(f"{service.name}.{task.slot or task.node_id}: {trouble_of(task)}" for task in same)
    return reasons[:_TROUBLES_TOLD]


def _hopeless(service: Service, slots: Mapping[tuple[int, str], Slot], known: Collection[str]) -> tuple[str, ...]:
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
            reasons.append(f"{_task_name(service, slot)}: {trouble_of(failures[0])}{times}")
    return _distinct(reasons)


def _watched(service: Service) -> bool:
    status, config = service.update_status, service.spec.update_config
    if status is None or status.state not in ACTIVE:
        return False
    return config is None or config.failure_action != "continue"


def _exhausted(service: Service, slot: Slot) -> bool:
    """Whether the restart policy leaves a slot without a task."""
    policy = service.spec.task_template.restart_policy
    if slot.live or policy is None:
        return False
    if policy.condition == "none":
        return True
    return bool(policy.max_attempts) and len([t for t in slot.tasks if has_failed(t)]) > (policy.max_attempts or 0)


def _task_name(service: Service, slot: Slot) -> str:
    return f"{service.name}.{slot.name}"


def _rolling_back(status: UpdateStatus | None) -> bool:
    return status is not None and status.state in ROLLBACKS


def _distinct(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reasons))
