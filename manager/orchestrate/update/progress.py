"""The progress of a rolling update, from its tasks alone: so a new leader goes on where the old one was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from common.clock import seconds
from common.model import Service, Task, TaskState
from common.model.service import UpdateConfig
from common.model.update import ROLLBACKS, UpdateProgress, UpdateStatus
from common.spec import extensions
from manager.domain.update_status import state_of
from manager.orchestrate.reconcile import restart
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slots import Slot, by_node, by_number
from manager.store.changes import Draft
from manager.store.view import View


@dataclass(frozen=True, slots=True)
class Progress:
    """What an update has done so far.

    `changed` slots have a task of the new version that was not told to stop before it ran; `busy` of them hold back
    others, as their tasks do not run yet or `delay` has not passed since; `starting` of these do not run yet.
    `failures` are the tasks that failed within the monitor period, one a slot. `next_at` is when a delay ends,
    `monitored_until` when the last monitor period does. `progressed_at` is when a slot was last begun with or came to
    run, `waiting` the newest task of the last one begun that does not.
    """

    changed: frozenset[Slot]
    busy: int
    starting: int
    failures: tuple[Task, ...]
    next_at: float
    monitored_until: float
    progressed_at: float
    waiting: Task | None


def measure(slots: Iterable[Slot], version: int, since: float, config: UpdateConfig, now: float) -> Progress:
    """Measure the tasks of `version` that were created, or given new files, at or after `since`, slot by slot."""
    delay, monitor = seconds(config.delay), seconds(config.monitor)
    busy = starting = 0
    changed: list[Slot] = []
    failures: list[Task] = []
    next_at = monitored_until = 0.0
    progressed_at, waiting = since, None
    for slot in slots:
        made = [task for task in slot.tasks if _had_turn(task, version, since)]
        if not made:
            continue
        progressed_at = max(progressed_at, _begun_at(made[0]))
        if not any(task.live or _settled(task) for task in made):
            continue  # they were told to stop before they ran, maybe on a lost node: the slot still has to be changed
        changed.append(slot)
        settled_at = [_settled_at(task) for task in made if _settled(task)]
        progressed_at = max(progressed_at, min(settled_at, default=0.0))
        if not settled_at:
            waiting = made[-1]
            starting += 1
            busy += 1
        elif (free_at := min(settled_at) + delay) > now:
            busy += 1
            next_at = min(next_at or free_at, free_at)
        monitored_until = max([monitored_until, *(instant + monitor for instant in settled_at)])
        failures += [task for task in made if _failed(task, monitor)][:1]
    return Progress(
        frozenset(changed), busy, starting, tuple(failures), next_at, monitored_until, progressed_at, waiting
    )


def _had_turn(task: Task, version: int, since: float) -> bool:
    """Whether a task counts as changed; one that refused its new files still has to be replaced."""
    return task.spec_version == version and _begun_at(task) >= since and not task.refused


def _begun_at(task: Task) -> float:
    return task.renewal.asked_at if task.renewal is not None else task.created_at


def _settled(task: Task) -> bool:
    """Whether a new task runs, with its new files, or has ended before that: either way its turn is over."""
    return task.status.state.terminal or (task.status.state is TaskState.RUNNING and not task.renewing)


def _settled_at(task: Task) -> float:
    if task.renewal is not None:
        return max(task.renewal.taken_at, task.restart.running_since) or task.updated_at
    return task.restart.running_since or task.updated_at


def _failed(task: Task, monitor: float) -> bool:
    """Whether a new task ended by itself before the monitor period was over.

    Completing is not a failure of a task that its restart policy does not want to run for ever.
    """
    if not task.ended_by_itself:
        return False
    if task.status.state is TaskState.COMPLETE and restart.policy_of(task).condition != "any":
        return False
    if task.renewal is not None:
        return task.updated_at - (task.renewal.taken_at or task.renewal.asked_at) <= monitor
    return restart.ran_for(task) <= monitor


def since(service: Service, now: float) -> float:
    """Return since when tasks count for the update (Unix seconds): its start, or the end of its last pause."""
    status = service.update_status
    return max(status.started_at, status.resumed_at) if status is not None else now


def config_of(service: Service) -> UpdateConfig:
    """Return the configuration of the update or rollback under way."""
    spec = service.spec
    return (spec.rollback_config if state_of(service) in ROLLBACKS else spec.update_config) or UpdateConfig()


def canary_over_at(service: Service, status: UpdateStatus, progress: Progress) -> float | None:
    """Return when an update that holds goes on by itself; None while a task of it starts, or if it never does."""
    period = extensions.of(service).canary_period
    if not period or progress.starting:
        return None
    return max(status.held_at, progress.progressed_at) + period


# --- for people ---


def update_progress(service: Service, view: View, now: float) -> UpdateProgress:
    """Return the progress of a service's update, or of its first start that waits for other services."""
    context = ServiceContext(service, view, now, Random(0), Draft())  # noqa: S311  # nothing is decided, and nothing left to chance
    mode, tasks = service.spec.mode, view.tasks.of_service(service.id)
    found = by_node(tasks).values() if mode.is_global else map(Slot, by_number(tasks).values())
    slots = [slot for slot in found if slot.tasks]
    progress = measure(slots, service.spec_version, since(service, now), config_of(service), now)
    done = sum(_is_done(context, slot) for slot in slots)
    wanted = len(slots) if mode.is_global else mode.replicated_job.total if mode.replicated_job else mode.replicas
    return UpdateProgress(
        done=min(done, wanted),
        of=wanted,
        batch=progress.busy,
        waits_for=service.waits_for,
        monitor_until=_monitored_until(service, progress, now),
    )


def _is_done(context: ServiceContext, slot: Slot) -> bool:
    return any(
        task.status.state is TaskState.RUNNING and not task.renewing and context.clean(task) for task in slot.live
    )


def _monitored_until(service: Service, progress: Progress, now: float) -> float:
    status = service.update_status
    until = progress.monitored_until
    if status is not None and status.held_at:
        until = canary_over_at(service, status, progress) or 0.0
    return until if until > now else 0.0
