"""The host's volumes: whose data is in them, and what is done for the tasks that mount them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Protocol

from common.model.container import ContainerSpec
from common.model.task import Task
from worker.interfaces.engine import Container, EngineVolume


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose data is in a volume: its lineage and generation, as `common.model.Volume` has them.

    `task`: it is a snapshot that was made for the task with this id. `kept_of`: it is anonymous, and kept for the slot
    that is called so, from `kept_since` on (Unix seconds).
    """

    data_id: str
    generation: int
    task: str = field(default="", compare=False)
    kept_of: str = field(default="", compare=False)
    kept_since: float = field(default=0.0, compare=False)


class Marks(Protocol):
    """The marks beside the data of this host's volumes."""

    async def read(self, volume: EngineVolume) -> Mark | None:
        """Return a volume's mark; None where it has none, or can have none."""

    async def write(self, volume: EngineVolume, mark: Mark) -> bool:
        """Mark a volume, durably; return whether it can be marked."""


class VolumeGuard(Protocol):
    """Keeps a task from starting on other data than its own."""

    async def check(self, task: Task, spec: ContainerSpec) -> None:
        """Look whether the task's volumes have the data that it is to find; `spec` has its templates expanded.

        Raises:
            SwarmError: one has not; the task is not to be started.

        """

    def look_soon(self) -> None:
        """Hear that the engine may have made volumes."""


class Snapshots(Protocol):
    """Makes the snapshots of volumes that a task mounts."""

    async def mounted(self, task: Task, spec: ContainerSpec) -> ContainerSpec:
        """Make a task's snapshots; return its specification, templates expanded, with snapshots in place of volumes.

        Raises:
            SwarmError: one cannot be made.

        """

    async def remove(self, task: Task, spec: ContainerSpec) -> None:
        """Remove a task's snapshots. Of one that an ended container still has, the content goes at once."""

    async def run(self, tasks: Callable[[], Collection[str]]) -> None:
        """Remove what has no task any more, until cancelled; `tasks` returns the ids of those of this host."""


class VolumeKeeper(Protocol):
    """Keeps anonymous volumes of containers that go."""

    async def keep(self, owner: str, container: Container) -> bool:
        """Keep those of a container that is to be removed; `owner` is what its slot is called.

        Returns whether the container is to be removed without its volumes.

        Raises:
            SwarmError: the engine does not say, or the marks cannot be written; nobody knows which are kept.

        """

    async def run(self) -> None:
        """Remove what need not be kept any longer, until cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeParts:
    """What cares for a host's volumes; a part that is None is one that this host does not have.

    marks: without them, nothing is reported of volumes, and no task's data is looked for.
    measure: returns how many bytes a folder takes; without it no size is known.
    rng: the source of lineages.
    """

    marks: Marks | None = None
    measure: Callable[[Path], Awaitable[int]] | None = None
    rng: Random = field(default_factory=SystemRandom)
    snapshots: Snapshots | None = None
    keeper: VolumeKeeper | None = None


NO_VOLUMES = VolumeParts()
