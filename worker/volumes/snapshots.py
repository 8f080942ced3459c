"""Snapshots of volumes that tasks mount: made before a task's container, removed with the task.

A snapshot's mark names its task. So one whose task is forgotten, as an agent that lost its database does, is found.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from random import Random

from msgspec import structs

from common.errors import AlreadyExists, FailedPrecondition, SwarmError
from common.model.container import ContainerSpec, Mount, VolumeOptions
from common.model.task import Task
from common.model.volume import new_lineage
from common.spec.slot_volumes import snapshot_name
from common.spec.volumes import snapshot_of
from worker.interfaces.engine import Engine, EngineVolume
from worker.interfaces.volumes import Mark, Marks
from worker.volumes import archives
from worker.volumes.copy.control import Passed, Ready
from worker.volumes.copy.process import CopyProcess, copying_here
from worker.volumes.holds import Holds, held_pass

_PARTIAL, _WHOLE = 0, 1
SWEEP_SECONDS = 600.0
ORPHAN_SECONDS = 3600.0

_log = logging.getLogger(__name__)


class TaskSnapshots:
    """Makes and removes tasks' snapshots. `folder` has the indexes of the copies while they are made."""

    def __init__(self, engine: Engine, marks: Marks, holds: Holds, folder: Path, rng: Random) -> None:
        self._engine = engine
        self._marks = marks
        self._holds = holds
        self._folder = folder
        self._rng = rng
        # By name, and since when: none of this host's tasks, and no container, has these.
        self._orphans: dict[str, float] = {}

    async def mounted(self, task: Task, spec: ContainerSpec) -> ContainerSpec:
        """Make a task's snapshots; return its specification, templates expanded, with them in their volumes' place.

        Raises:
            SwarmError: one cannot be made; what was made is removed with the task.

        """
        mounts = []
        for mount in spec.mounts:
            if hold := snapshot_of(mount):
                name = snapshot_name(task.id, mount.source)
                await self._make(mount.source, name, hold, task.id)
                mounts.append(_of_snapshot(mount, name))
            else:
                mounts.append(mount)
        return structs.replace(spec, mounts=tuple(mounts))

    async def remove(self, task: Task, spec: ContainerSpec) -> None:
        """Remove a task's snapshots. Of one that an ended container still has, the content goes at once."""
        for mount in spec.mounts:
            if snapshot_of(mount):
                await self._remove(snapshot_name(task.id, mount.source))

    # --- those of tasks that are forgotten ----------------------------------------------------------------------------

    async def run(self, tasks: Callable[[], Collection[str]]) -> None:
        """Remove what has no task any more, until cancelled; `tasks` returns the ids of those of this host."""
        while True:
            try:
                await self.sweep(tasks(), asyncio.get_running_loop().time())
            except SwarmError as error:
                _log.warning("cannot look for snapshots that are left over: %s", error.message)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self, tasks: Collection[str], now: float) -> None:
        """Remove the snapshots that no task and no container has had for `ORPHAN_SECONDS`; `now` is monotonic.

        Only what is marked as a task's snapshot: never a volume that somebody made. One that a manager has had made
        comes before its task; so none goes at once.
        """
        left = [volume.name for volume in await self._engine.volumes() if await self._is_left(volume, tasks)]
        self._orphans = {name: self._orphans.get(name, now) for name in left}
        for name, since in self._orphans.items():
            if now - since >= ORPHAN_SECONDS:
                _log.warning("volume %s is a snapshot whose task has been gone for an hour: it is removed", name)
                await self._engine.remove_volume(name)

    async def _is_left(self, volume: EngineVolume, tasks: Collection[str]) -> bool:
        mark = await self._marks.read(volume)
        if mark is None or not mark.task or mark.task in tasks:
            return False
        return not await self._engine.mounting(volume.name)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _remove(self, name: str) -> None:
        volume = await self._engine.volume(name)
        if volume is None:
            return
        try:
            await self._engine.remove_volume(name)
        except SwarmError:  # an ended container, which is kept for its logs, still has it
            await asyncio.to_thread(_empty, Path(volume.mountpoint))

    async def _make(self, source: str, name: str, hold: str, task_id: str) -> None:
        """Copy a volume on this host, unless that was done before: by the agent, or as a manager wanted it."""
        there = await self._engine.volume(name)
        mark = await self._marks.read(there) if there is not None else None
        if mark is not None and mark.generation:
            return
        if hold == "stop":  # only a manager has tasks stop
            raise FailedPrecondition(f"the snapshot of volume {source} that was made for the task is gone")
        volume = await archives.existing(self._engine, source)
        if mark is not None:
            await self._engine.remove_volume(name)
        elif there is not None:
            raise AlreadyExists(f"volume {name} is on this host already: it is not a snapshot")
        async with archives.made(self._engine, name) as target:
            lineage = new_lineage(self._rng)
            await self._marks.write(target, Mark(lineage, _PARTIAL, task_id))
            before = await self._marks.read(volume)
            await self._copy(volume, target, hold)
            await archives.check_kept(self._engine, self._marks, source, before)
            await self._marks.write(target, Mark(lineage, _WHOLE, task_id))

    async def _copy(self, source: EngineVolume, target: EngineVolume, hold: str) -> None:
        work = self._folder / target.name
        try:
            async with copying_here(Path(source.mountpoint), Path(target.mountpoint), work) as process:
                await process.wait_for(Ready)
                while (await _pass(process)).next == "pass":
                    pass
                if hold == "pause":
                    _, seconds = await held_pass(process, self._holds, source.name)
                    _log.info("volume %s was copied to %s in a pause of %.1f s", source.name, target.name, seconds)
                else:
                    process.tell("last")
                    await process.wait_for(Passed)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


async def _pass(process: CopyProcess) -> Passed:
    process.tell("pass")
    return await process.wait_for(Passed)


def _of_snapshot(mount: Mount, name: str) -> Mount:
    """Mount a snapshot like its volume: it has all there was, so the engine is not to fill it from the image."""
    subpath = mount.volume_options.subpath if mount.volume_options is not None else ""
    return structs.replace(mount, source=name, volume_options=VolumeOptions(no_copy=True, subpath=subpath))


def _empty(folder: Path) -> None:
    """Remove all that is in a folder. Raises OSError."""
    for each in _entries(folder):
        if each.is_dir(follow_symlinks=False):
            shutil.rmtree(each.path)
        else:
            os.unlink(each.path)  # noqa: PTH108


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        yield from list(found)
