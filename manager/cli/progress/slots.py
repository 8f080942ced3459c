"""The slots of a service as a wait sees them: the task that holds each, and those that failed in it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from common.model import Service, Task, TaskState

_SHORT_ID = 12


@dataclass(frozen=True, slots=True)
class Line:
    """One slot: how far its task is, and its trouble if it has any."""

    label: str
    state: TaskState | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """The tasks of a slot (for a global service, of a node): the current one first, then those that ended.

    `leaving` is the trouble of one that is to end, and has not.
    """

    name: str
    current: Task
    tasks: tuple[Task, ...]
    finishes: bool
    leaving: str = ""

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
        own, last = trouble_of(self.current), self.last_error
        return Line(self.name, state, (last or self.leaving or own) if waits else (own or last))

    @property
    def last_error(self) -> str:
        """Why the task before the current one ended, as long as the current one does not run."""
        if self.done or self.current.status.state is TaskState.RUNNING:
            return ""
        return next((trouble_of(task) for task in self.tasks if has_failed(task)), "")

    def failures(self, known: Collection[str]) -> list[Task]:
        return [task for task in self.tasks if has_failed(task) and task.id not in known]


def slots_of(service: Service, tasks: Sequence[Task], down: Collection[str]) -> dict[tuple[int, str], Slot]:
    """Group tasks; of a slot's living tasks the least one in desired state is current, then the least advanced."""
    groups: dict[tuple[int, str], list[Task]] = {}
    leaving: dict[tuple[int, str], str] = {}
    for task in tasks:
        key = (task.slot, task.node_id if service.spec.mode.is_global else "")
        counts = task.desired_state <= TaskState.COMPLETE or has_failed(task) or task.status.state is TaskState.COMPLETE
        if counts and (task.node_id not in down or not task.live):
            groups.setdefault(key, []).append(task)
        elif not task.status.state.terminal and task.node_id not in down:
            leaving[key] = trouble_of(task)
    made = {}
    for key, group in groups.items():
        latest = _iteration(service, group)
        living = [task for task in latest if task.live]
        if latest:
            current = min(living, key=_standing) if living else max(latest, key=lambda task: task.created_at)
            name = key[1] or str(key[0])
            made[key] = Slot(
                name,
                current,
                tuple(sorted(latest, key=lambda t: -t.created_at)),
                service.spec.ends,
                leaving.get(key, ""),
            )
    return _within(service, made)


def _standing(task: Task) -> tuple[int, int, float]:
    return task.desired_state, task.status.state, -task.created_at


def number_slots(service: Service, slots: Mapping[tuple[int, str], Slot], wanted: int) -> tuple[Line, ...]:
    """Make the lines: slots are numbered from 1 on, those beyond the wanted ones (about to leave) are not shown."""
    ordered = [slots[key].line for key in sorted(slots)]
    if service.spec.mode.is_global:
        return tuple(replace(line, label=line.label[:_SHORT_ID]) for line in ordered)
    return tuple(replace(line, label=str(number)) for number, line in enumerate(ordered[:wanted], 1))


def _iteration(service: Service, group: Iterable[Task]) -> list[Task]:
    """Keep a job's tasks of its present iteration."""
    if service.job_status is None:
        return list(group)
    return [task for task in group if task.job_iteration == service.job_status.job_iteration]


def _within(service: Service, slots: dict[tuple[int, str], Slot]) -> dict[tuple[int, str], Slot]:
    """Drop slots that are empty and no longer wanted (after a scale-down)."""
    replicated = service.spec.mode.replicated
    if replicated is None:
        return slots
    surplus = len(slots) - (replicated.replicas or 0)
    ended = sorted((key for key, slot in slots.items() if not slot.live and not slot.done), reverse=True)
    for key in ended[: max(surplus, 0)]:
        del slots[key]
    return slots


def has_failed(task: Task) -> bool:
    return task.status.state in (TaskState.FAILED, TaskState.REJECTED)


def trouble_of(task: Task) -> str:
    status = task.status
    if status.err:
        return status.err
    return (status.message or "the task failed") if has_failed(task) else ""
