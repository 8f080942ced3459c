"""Which named volumes this host has, told to the manager whenever that changes; and the guard of tasks' data.

A volume that is seen for the first time gets a mark with a lineage of its own. The manager says with a task which
lineage it is to find, so a volume that was removed by hand, or made anew under its name, is never taken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from random import Random

from common.errors import FailedPrecondition, SwarmError
from common.model.task import Task
from common.model.volume import TaskVolume, new_lineage
from common.spec.slot_volumes import named_mounts, slot_volumes
from common.spec.volumes import is_anonymous
from common.wire.admission import ENTRIES_BYTES, fitting, size_of
from common.wire.volume_messages import MOST_VOLUMES, SeenVolume, VolumeReport
from worker.interfaces import Engine, EngineVolume, Mark, Marks

# What people and plain containers do to volumes is seen within this time.
LOOK_SECONDS = 15.0
_RETRY_SECONDS = 1.0
_MOST_DETAILS = 2048

_log = logging.getLogger(__name__)


class Inventory:
    """Looks at the engine's volumes. `run` until cancelled; the session asks for reports.

    tasks: those that are assigned to this host; their volumes are reported first.
    """

    def __init__(self, engine: Engine, marks: Marks, rng: Random, tasks: Callable[[], Mapping[str, Task]]) -> None:
        self._engine = engine
        self._marks = marks
        self._rng = rng
        self._tasks = tasks
        self._look = asyncio.Event()
        self._looked = asyncio.Event()
        self._asked = False
        self._seen: tuple[SeenVolume, ...] | None = None
        self._said: tuple[SeenVolume, ...] | None = None
        self._unsent: list[VolumeReport] = []
        self._warned = ""

    async def run(self) -> None:
        while True:
            self._look.clear()
            try:
                self._seen = await self._list()
            except SwarmError as error:
                self._warn(error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._look.set()
            else:
                self._warned = ""
                self._looked.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()

    def look_soon(self) -> None:
        self._look.set()

    # --- what a session asks ------------------------------------------------------------------------------------------

    def asked(self) -> None:
        """Hear that a manager wants reports, and has none yet."""
        self._asked, self._said = True, None
        self._unsent.clear()
        self._looked.set()
        self._look.set()

    def lost(self) -> None:
        """Hear that the session has ended: the next manager has to ask again."""
        self._asked = False

    async def changed(self) -> VolumeReport:
        """Wait until there is something to report, and return the next part of it."""
        while not self._unsent:
            await self._looked.wait()
            self._looked.clear()
            if self._asked and self._seen is not None and self._seen != self._said:
                self._said = self._seen
                self._unsent = _reports(self._seen)
        return self._unsent.pop(0)

    # --- what runners ask ---------------------------------------------------------------------------------------------

    async def check(self, task: Task) -> None:
        """Look whether the task's volumes have the data that it is to find.

        Raises:
            FailedPrecondition: one has not.

        """
        known = {each.name: each for each in task.volumes}
        others = dict.fromkeys(mount.source for mount in named_mounts(task) if mount.source not in known)
        for name in (*known, *others):
            volume = await self._engine.volume(name)
            mark = await self._marks.read(volume) if volume is not None else None
            if why := _why_not(known[name], volume, mark) if name in known else _not_whole(name, mark):
                self.look_soon()
                raise FailedPrecondition(why)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _list(self) -> tuple[SeenVolume, ...]:
        """Return all named volumes, those of tasks first, each marked if it can be."""
        named = [each for each in await self._engine.volumes() if not is_anonymous(each.name)]
        wanted = {each.name for task in self._tasks().values() for each in slot_volumes(task)}
        named.sort(key=lambda each: (each.name not in wanted, each.name))
        return tuple([_seen(each, await self._mark(each)) for each in named[: MOST_VOLUMES + 1]])

    async def _mark(self, volume: EngineVolume) -> Mark | None:
        mark = await self._marks.read(volume)
        if mark is not None:
            return mark
        made = Mark(new_lineage(self._rng), 1)
        return made if await self._marks.write(volume, made) else None

    def _warn(self, error: SwarmError) -> None:
        if error.message != self._warned:
            _log.warning("cannot see which volumes there are: %s", error.message)
            self._warned = error.message


def _why_not(wanted: TaskVolume, volume: EngineVolume | None, mark: Mark | None) -> str:
    """Say why a volume is not what a task is to find; empty if it is."""
    if volume is None:
        return f"volume {wanted.name} was removed on this host, not by the cluster: the task does not start without it"
    if mark is None:
        return f"volume {wanted.name} has lost its mark: nobody can tell whose data it has"
    if mark.data_id != wanted.data_id:
        return f"volume {wanted.name} has other data than the task is to find: it was made anew on this host"
    if mark.generation != wanted.generation:
        return f"volume {wanted.name} has data of generation {mark.generation}, not {wanted.generation}"
    return ""


def _not_whole(name: str, mark: Mark | None) -> str:
    """Say that what brings a volume here has not come to its end; empty if that is not so."""
    if mark is None or mark.generation:
        return ""
    return f"volume {name} on this host is not whole: it is being brought here, or that was broken off"


def _seen(volume: EngineVolume, mark: Mark | None) -> SeenVolume:
    """Describe a volume for the manager; labels and options that are too long for its store are left out."""
    details = size_of((dict(volume.options), dict(volume.labels))) <= _MOST_DETAILS
    return SeenVolume(
        name=volume.name,
        data_id=mark.data_id if mark is not None else "",
        generation=mark.generation if mark is not None else 0,
        driver=volume.driver,
        scope=volume.scope,
        options=dict(volume.options) if details else {},
        labels=dict(volume.labels) if details else {},
    )


def _reports(seen: tuple[SeenVolume, ...]) -> list[VolumeReport]:
    """Part a list into messages."""
    left, parts = seen[:MOST_VOLUMES], []
    while taken := fitting(left, ENTRIES_BYTES):
        parts.append(taken)
        left = left[len(taken) :]
    cut = len(seen) > MOST_VOLUMES
    parts = parts or [()]
    return [VolumeReport(volumes=part, more=part is not parts[-1], cut=cut) for part in parts]
