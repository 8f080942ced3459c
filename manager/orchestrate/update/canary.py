"""Canaries: an update changes a few slots, then holds until it is told to go on or they have run well for a while.

While it holds, the other slots stay as they are, whatever happens to them: what restarts, moves or is added is made
from the specification that the tasks have. So there are never more tasks of the new one than asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from common.model import Service, Task, TaskState
from manager.domain.update_status import canary_size
from manager.orchestrate.reconcile.slots import Slot
from manager.store.view import View


class UpdatedService(Protocol):
    """What this module needs of a `ServiceContext`; `canary` is the number of slots, 0 for none."""

    @property
    def service(self) -> Service: ...
    @property
    def view(self) -> View: ...
    @property
    def canary(self) -> int: ...

    def clean(self, task: Task) -> bool:
        """Whether a task is as the service says."""


def count_changed_slots(context: UpdatedService, slots: Iterable[Slot]) -> int:
    """Count the slots that have or had a task of the new specification."""
    return sum(has_begun(context, slot) for slot in slots)


def has_begun(context: UpdatedService, slot: Slot) -> bool:
    """Whether the update has reached a slot, even if its task could not take its new files and will be replaced."""
    return any(task.spec_version == context.service.spec_version for task in slot.tasks)


def leaves_out(context: UpdatedService, slot: Slot) -> bool:
    """Whether a slot stays as it is for now, as it is not part of the canary."""
    return bool(context.canary and slot.tasks) and not has_begun(context, slot)


def count_unchanged_slots(context: UpdatedService, slots: Iterable[Slot]) -> int:
    """Count the slots that have not been changed, those on drained nodes included."""
    return sum(leaves_out(context, slot) and not context.clean(slot.tasks[-1]) for slot in slots)


def original_tasks(service: Service, tasks: Iterable[Task]) -> list[Task]:
    """Return a service's tasks of older specifications, which new ones may have to be like while the canary holds."""
    if not canary_size(service):
        return []
    old = (task for task in tasks if task.spec_version != service.spec_version)
    return [task for task in old if task.desired_state < TaskState.REMOVE]


def task_to_keep(context: UpdatedService, slot: Slot) -> Task | None:
    """Return the task that a slot's next one is to be like; None for the service's present specification."""
    if not context.canary or has_begun(context, slot):
        return None
    return slot.tasks[-1] if slot.tasks else model_task(context)


def model_task(context: UpdatedService) -> Task | None:
    """Return a task that the task of a new slot is to be like: of the version that most unchanged ones have."""
    if not context.canary:  # do not look at the tasks: doing so for each of thousands of new ones would be slow
        return None
    tasks = original_tasks(context.service, context.view.tasks.of_service(context.service.id))
    tasks = [task for task in tasks if task.live] or tasks
    counts = Counter(task.spec_version for task in tasks)
    return max(tasks, key=lambda task: (counts[task.spec_version], task.spec_version), default=None)
