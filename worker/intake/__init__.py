"""What a manager sends becomes typed values here, entry by entry; only these go on to the kernel, paths and scripts.

A manager is trusted, but its messages carry other workers' words. So nothing of a message is passed on as it came: each
entry (a peer, a network, a service, a task) is parsed, and left out alone where it cannot be used. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.model.attachment import NetworkAttachment
from common.model.task import Task
from worker.assignments import AssignmentSet
from worker.intake.entries import Entries, Refusal
from worker.intake.network import NetworkIntake
from worker.intake.tasks import read_attachment, read_task
from worker.intake.world import NetworkWorld


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an assignment set has for this host, without what cannot be used; `rejected` says why some tasks cannot."""

    tasks: Mapping[str, Task]
    attachments: Mapping[str, NetworkAttachment]
    world: NetworkWorld
    rejected: Mapping[str, str]
    refused: tuple[Refusal, ...]


class Intake:
    """Takes in one assignment set after another, for the node `node_id`."""

    def __init__(self, node_id: str) -> None:
        self._tasks = Entries("task", read_task)
        self._attachments = Entries("container", read_attachment)
        self._network = NetworkIntake(node_id)

    def take(self, found: AssignmentSet) -> Accepted:
        """Take in a set; whatever it says, this does not fail."""
        refused: list[Refusal] = []
        tasks = self._tasks.take(found.tasks, refused)
        rejected = {each.name: each.why for each in refused}
        attachments = self._attachments.take(found.attachments, refused)
        world = self._network.world(found)
        return Accepted(tasks, attachments, world, rejected, (*refused, *world.refused))
