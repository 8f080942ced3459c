"""The secrets and configs of tasks, as files for their containers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A file for a container: absolute path in it, owner, permission bits and content."""

    target: str
    data: bytes
    uid: int = 0
    gid: int = 0
    mode: int = 0o444

    def __repr__(self) -> str:
        return f"TaskFile(target={self.target!r}, data=<{len(self.data)} bytes>)"


class TaskFiles(Protocol):
    """Files that exist in memory only: secrets and configs of one task."""

    def write(self, task_id: str, files: Collection[TaskFile]) -> Mapping[str, str]:
        """Write a task's files into a tmpfs of its own; return the host path of each, by target.

        Raises:
            SwarmError: no tmpfs can be had.

        """

    async def replace(
        self, task_id: str, files: Collection[TaskFile], pid: int, tell: Callable[[], Awaitable[None]]
    ) -> None:
        """Put other content into a task's files, if it is other; whoever reads them finds the old or the new, whole.

        The container whose first process is `pid` (0: it does not run) gets them at their targets. `tell` is awaited
        when it has them; the change counts only after that, so whoever was interrupted may begin again.

        Raises:
            SwarmError: the container cannot be given them.

        """

    def remove(self, task_id: str) -> None:
        """Forget a task's files. Repeatable."""

    def tasks(self) -> Collection[str]:
        """Return the tasks that have files, from before the agent's restart too."""
