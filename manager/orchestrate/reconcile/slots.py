"""Slots: the places of a service, each held by one task at a time, with earlier tasks as history."""

from __future__ import annotations

from collections.abc import Iterable

from common.model import Task, TaskState


def age(task: Task) -> tuple[float, int, int, str]:
    """Order a slot's tasks, oldest first; in the same instant a newer spec, then a later restart is the newer task."""
    return (task.created_at, task.spec_version, task.restart.attempts + task.restart.streak, task.id)


class Slot:
    """One slot. `tasks` are those not on their way out, oldest first; `leaving` those whose records are to go.

    `live` are the tasks that hold the slot: one, or two while one replaces the other. A decision removes from it those
    that it tells to stop. `number` is 0 for a slot of a global service; `home` is its node, empty for a
    replicated one.
    """

    __slots__ = ("home", "leaving", "live", "number", "tasks")

    def __init__(self, tasks: Iterable[Task]) -> None:
        ordered = sorted(tasks, key=age)
        self.number = ordered[0].slot
        self.home = "" if self.number else ordered[0].node_id
        self.tasks = [task for task in ordered if task.desired_state < TaskState.REMOVE]
        self.leaving = [task for task in ordered if task.desired_state >= TaskState.REMOVE]
        self.live = [task for task in self.tasks if task.live]

    @property
    def newest(self) -> Task:
        return self.tasks[-1]

    @property
    def running(self) -> bool:
        return any(task.status.state is TaskState.RUNNING for task in self.live)

    @property
    def node_id(self) -> str:
        """The node that the slot is on; empty while it has none."""
        return self.live[-1].node_id if self.live else ""


def by_number(tasks: Iterable[Task]) -> dict[int, list[Task]]:
    """Group a replicated service's tasks by slot, the lowest first."""
    groups: dict[int, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.slot, []).append(task)
    return dict(sorted(groups.items()))


def by_node(tasks: Iterable[Task]) -> dict[str, Slot]:
    """Group a global service's tasks by their nodes; a slot may consist of leaving tasks only."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.node_id, []).append(task)
    return {node_id: Slot(group) for node_id, group in groups.items()}


def free_numbers(used: Iterable[int], count: int) -> list[int]:
    """Return the `count` lowest slot numbers, from 1, that are not used."""
    taken = set(used)
    numbers: list[int] = []
    number = 1
    while len(numbers) < count:
        if number not in taken:
            numbers.append(number)
        number += 1
    return numbers
