"""Back-off in its own words: the more often in a row a slot's task fails, the longer the slot waits for the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from common.clock import SECOND
from common.model import Task, TaskState
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.sim.placement import Complaint

_LONGEST = 300.0
_STABLE = 60.0
_FAILED = (TaskState.FAILED, TaskState.REJECTED)


@dataclass(frozen=True, slots=True)
class _Failure:
    """When a slot's last task failed, made from which version, and how often that had happened in a row.

    One that is `excused` was its host's, and no longer counts.
    """

    task: Task
    at: float
    streak: int
    excused: bool = False


class Backoff:
    """Remembers the failures that were stored, by slot."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._newest: dict[tuple[str, int, str, object], str] = {}
        self._failures: dict[tuple[str, int, str, object], _Failure] = {}

    def look(self, view: View, changes: ChangeSet, now: float) -> Iterator[Complaint]:
        for change in changes.changes:
            old, new = change.old, change.new
            if not isinstance(new, Task):
                continue
            if old is None:
                self._newest[_place(new)] = new.id
            before = old.status.state if isinstance(old, Task) else TaskState.NEW
            if new.status.state is TaskState.RUNNING and before is not TaskState.RUNNING:
                self._began[new.id] = now
            if new.status.state.terminal and not before.terminal:
                self._ended(new, now)
            if new.desired_state >= TaskState.REMOVE:  # the slot is given up; one of its number later is another
                self._failures.pop(_place(new), None)
            wanted = isinstance(old, Task) and old.desired_state is TaskState.RUNNING
            if new.desired_state is TaskState.RUNNING and not wanted:
                yield from self._started(view, new, now)

    def _ended(self, task: Task, now: float) -> None:
        place = _place(task)
        if self._newest.get(place) != task.id:  # its successor, on the move to another node, was made before that
            return
        if task.status.state not in _FAILED or task.desired_state > TaskState.RUNNING:
            self._failures.pop(place, None)
            return
        last = self._failures.get(place)
        ran = now - self._began.get(task.id, now)
        again = last is not None and last.task.spec_version == task.spec_version and last.task.id != task.id
        streak = last.streak + 1 if last is not None and again and ran < _STABLE else 1
        self._failures[place] = _Failure(task, now, streak)

    def _started(self, view: View, task: Task, now: float) -> Iterator[Complaint]:
        last = self._failures.get(_place(task))
        if last is None or last.task.spec_version != task.spec_version or task.created_at < last.at or last.excused:
            return
        node = view.nodes.get(last.task.node_id)
        if node is None or node.status.state == "down":  # what fails on such a host has not failed by itself
            self._failures[_place(task)] = replace(last, streak=last.streak - 1, excused=True)
            return
        policy = task.spec.restart_policy
        first = (policy.delay if policy is not None and policy.delay is not None else 5 * SECOND) / SECOND
        wait = first if last.streak == 1 else min(max(_LONGEST, first), max(first, 0.5) * 2 ** (last.streak - 1))
        if now < last.at + wait:
            text = f"{task.id} is started {now - last.at:.1f} s after failure {last.streak} in a row, not {wait:g} s"
            yield text, [last.task, task]


def _place(task: Task) -> tuple[str, int, str, object]:
    return task.service_id, task.slot, "" if task.slot else task.node_id, task.job_iteration
