"""A running container's files, changed: its secrets and configs get the content that its task has now."""

from __future__ import annotations

import signal
from collections.abc import Collection

from common.model.task import Task
from worker.interfaces import Container, ContainerEvent, Engine, Phase, TaskFile, TaskFiles


class Renewals:
    """The changes of one task's files, and the signals that tell its program of them."""

    def __init__(self, files: TaskFiles, engine: Engine) -> None:
        self._files = files
        self._engine = engine
        self._sent = 0

    async def renew(self, task: Task, container: Container, files: Collection[TaskFile]) -> None:
        """Give the container these files, and send it the task's signal if any is new; it may not run yet.

        Raises:
            SwarmError: the container cannot be given them, or the signal not be sent.

        """
        runs = container.phase is Phase.RUNNING
        name = task.renewal.signal if task.renewal and runs else ""

        async def tell() -> None:
            if name:
                self._sent = getattr(signal, name, 0)
                await self._engine.signal(container.id, name)

        await self._files.replace(task.id, files, container.pid if runs else 0, tell)

    def sent(self, event: ContainerEvent) -> bool:
        """Whether an event is of the signal that was sent from here; it counts once."""
        ours = event.action == "kill" and bool(event.signal) and event.signal == self._sent
        if ours:
            self._sent = 0
        return ours
