"""Schedules in their own words: each due time is decided on once, and executes the job unless there is a reason not to.

The schedules of the simulation are every so many seconds, so a due time is a multiple of that.
"""

from __future__ import annotations

from collections.abc import Iterator

from common.model import Service, Task
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.sim.placement import Complaint

LABEL = "swarm.x.schedule"
PERIODS = {"* * * * *": 60, "*/10 * * * * *": 10, "*/20 * * * * *": 20}
# One that is not due in any simulation.
NEVER = "0 0 1 1 *"
# What a decision may take until it is stored.
_LAG = 1.0
# How long after its due time an execution is overdue, commits that fail included.
_PATIENCE = 8.0


class DueTimes:
    """Remembers since when the manager runs, and until when services waited for others: then a due time may be missed.

    `running_since` is to be set with each start of a manager.
    """

    def __init__(self) -> None:
        self.running_since = 0.0
        self._waited: dict[str, float] = {}

    def look(self, before: View, changes: ChangeSet, now: float) -> Iterator[Complaint]:
        for change in changes.changes:
            old, new = change.old, change.new
            if isinstance(new, Service) and (new.waits_for or (isinstance(old, Service) and old.waits_for)):
                self._waited[new.id] = now
            if isinstance(old, Service) and isinstance(new, Service) and period(new) and _kept(old, new):
                tasks = list(before.tasks.of_service(new.id))
                yield from ((f"{new.id} {wrong}", tasks) for wrong in self._decided(old, new, tasks, now))

    def _decided(self, old: Service, new: Service, tasks: list[Task], now: float) -> Iterator[str]:
        last, due = _last_at(old), _last_at(new)
        begun = _iteration(old) != _iteration(new)
        if due == last:
            if begun and old.spec.task_template.force_update == new.spec.task_template.force_update:
                yield f"is executed, and it is not due after {last}"
            return
        every, late = period(new), now - due
        if due < last or due % every or not 0 <= late < every + _LAG:
            yield f"goes from the due time {last} to {due}"
        if due - last > every and max(self.running_since, self._waited.get(new.id, 0.0)) < last + every:
            yield f"passes over what was due between {last} and {due}, and could have begun it"
        deadline = float(new.spec.labels.get("swarm.x.schedule-deadline", "0s")[:-1])
        if begun and deadline and late > deadline + _LAG:
            yield f"is executed {late:.1f} s after {due}, past its deadline"
        unfinished = _unfinished(old, tasks)
        forbids = new.spec.labels.get("swarm.x.schedule-concurrency", "forbid") == "forbid"
        if begun and forbids and unfinished:
            yield f"is executed for {due} while the execution before is not through"
        excused = (forbids and unfinished) or (deadline and late > deadline - _LAG)
        if not begun and not excused:
            yield f"is not executed for {due}, for no reason"

    def overdue(self, view: View, now: float) -> Iterator[str]:
        """Name the services that were due a while ago, while a manager ran, and for which nothing was decided."""
        for service in view.services:
            every = period(service)
            if not every or service.pending_delete or service.waits_for:
                continue
            due = now // every * every
            since = max(self.running_since, self._waited.get(service.id, 0.0), due)
            if _last_at(service) < due and service.created_at < due and now > since + _PATIENCE:
                yield f"{service.name} was due at {due}"


def beside(view: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain of tasks that are made for one execution of a job beside those of another, if that may not be."""
    for change in changes.changes:
        task = change.new
        if change.old is not None or not isinstance(task, Task) or task.job_iteration is None:
            continue
        service = view.services.get(task.service_id)
        if service is None or service.spec.labels.get("swarm.x.schedule-concurrency") == "allow":
            continue
        others = [each for each in view.tasks.of_service(service.id) if each.live and _other(each, task)]
        if others:
            yield f"{task.id} is made while another execution of {service.name} goes on", [task, *others]


def _other(each: Task, task: Task) -> bool:
    return each.job_iteration != task.job_iteration


def period(service: Service) -> int:
    """Return the seconds between two due times; 0 when it has no schedule that is ever due."""
    return PERIODS.get(service.spec.labels.get(LABEL, ""), 0)


def _kept(old: Service, new: Service) -> bool:
    return old.spec.labels.get(LABEL) == new.spec.labels.get(LABEL) and not new.pending_delete


def _last_at(service: Service) -> float:
    assert service.schedule_status is not None
    return service.schedule_status.last_at


def _iteration(service: Service) -> int:
    """Return the number of executions that were begun."""
    status = service.job_status
    return status.job_iteration.index + 1 if status is not None and status.last_execution else 0


def _unfinished(service: Service, tasks: list[Task]) -> bool:
    """Whether an execution has tasks that go on, or yet to be begun."""
    number, job = _iteration(service), service.spec.mode.replicated_job
    mine = [task for task in tasks if task.job_iteration is not None and task.job_iteration.index + 1 == number]
    begun = {task.slot for task in mine}
    return bool(number) and (
        any(task.live for task in mine) or (job is not None and len(begun) < (job.total_completions or 0))
    )
