"""The named volumes of this host: reported to the manager whenever they change, and checked before a task starts.

A volume that is seen for the first time gets a mark with a lineage of its own. The manager says with a task which
lineage it is to find, so a volume that was removed by hand, or made anew under its name, is never taken for it.

How much of the host's disk each takes is measured with what others leave of processor and disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import TypeAlias

from common.errors import FailedPrecondition, SwarmError
from common.model.container import ContainerSpec
from common.model.task import Task
from common.model.volume import TaskVolume, new_lineage
from common.spec.slot_volumes import named_mounts, slot_volumes
from common.spec.volumes import is_anonymous
from common.wire.allowances import ENTRIES_BYTES, fitting, size_of
from common.wire.volume_copy import MOST_BYTES, MOST_VOLUMES, SeenVolume, VolumeReport
from worker.interfaces.engine import Engine, EngineVolume
from worker.interfaces.volumes import Mark, Marks
from worker.volumes.marks import folder_of

# What people and plain containers do to volumes is seen within this time.
LOOK_SECONDS = 15.0
_RETRY_SECONDS = 1.0
_MOST_DETAILS = 2048

_log = logging.getLogger(__name__)

Measure: TypeAlias = Callable[[Path], Awaitable[int]]


class Inventory:
    """Looks at the engine's volumes. `run` until cancelled; the session asks for reports.

    tasks: those that are assigned to this host; their volumes are reported first.
    measure: returns how many bytes a folder takes, as `allocated`; without it no size is known.
    """

    def __init__(
        self,
        engine: Engine,
        marks: Marks,
        rng: Random,
        tasks: Callable[[], Mapping[str, Task]],
        measure: Measure | None = None,
    ) -> None:
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
        self._measure = measure
        self._sizes: dict[str, int] = {}
        self._unmeasured: asyncio.Event = asyncio.Event()
        self._folders: dict[str, Path] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_often())
            if self._measure is not None:
                group.create_task(self._measure_often(self._measure))

    async def _look_often(self) -> None:
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

    async def check(self, task: Task, spec: ContainerSpec) -> None:
        """Look whether the task's volumes have the data that it is to find; `spec` has its templates expanded.

        Raises:
            FailedPrecondition: one has not.

        """
        known = {each.name: each for each in task.volumes}
        others = dict.fromkeys(mount.source for mount in named_mounts(spec) if mount.source not in known)
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
        named = named[: MOST_VOLUMES + 1]
        folders = ((each.name, folder_of(each)) for each in named if not each.options)
        self._folders = {name: folder for name, folder in folders if folder is not None}
        if self._folders.keys() - self._sizes.keys():
            self._unmeasured.set()
        return tuple([_seen(each, await self._mark(each), self._sizes.get(each.name, UNKNOWN)) for each in named])

    async def _measure_often(self, measure: Measure) -> None:
        """Measure all volumes now and then, one after the other, and new ones soon."""
        while True:
            self._unmeasured.clear()
            news, clock = False, asyncio.get_running_loop().time
            began = clock()
            for name, folder in tuple(self._folders.items()):
                size = await measure(folder)
                if is_news(size, self._sizes.setdefault(name, UNKNOWN)):
                    self._sizes[name], news = size, True
            if news:
                self.look_soon()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(MEASURE_SECONDS, REST * (clock() - began))):
                    await self._unmeasured.wait()

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


def _seen(volume: EngineVolume, mark: Mark | None, size: int) -> SeenVolume:
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
        size=size,
    )


def _reports(seen: tuple[SeenVolume, ...]) -> list[VolumeReport]:
    """Part a list into messages."""
    left, parts = fitting(seen[:MOST_VOLUMES], MOST_BYTES), []
    cut = len(seen) > len(left)
    while taken := fitting(left, ENTRIES_BYTES):
        parts.append(taken)
        left = left[len(taken) :]
    parts = parts or [()]
    return [VolumeReport(volumes=part, more=part is not parts[-1], cut=cut) for part in parts]


# Until all are measured again.
MEASURE_SECONDS = 60.0
# As many times as long as that took nothing is measured.
REST = 20
UNKNOWN = -1
_WORTH_BYTES = 1 << 20
_WORTH_SHARE = 0.02
_COMMAND = ("nice", "-n", "19", "ionice", "-c", "3", "du", "--summarize", "--one-file-system", "--block-size=1", "--")


async def allocated(folder: Path) -> int:
    """Return the bytes of disk that a folder takes, `UNKNOWN` where nobody can tell."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            str(folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return UNKNOWN
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    size = said.partition(b"\t")[0]  # of files that went meanwhile it complains, and counts the others
    return int(size) if size.isdigit() else UNKNOWN


def is_news(size: int, before: int) -> bool:
    """Whether a size differs from the one before by so much that it is worth a write of the manager's store."""
    if UNKNOWN in (size, before):
        return size != before
    return abs(size - before) > max(_WORTH_BYTES, before * _WORTH_SHARE)
