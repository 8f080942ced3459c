"""Marks beside the data of volumes: a file `swarm.json` in the folder that the engine has for a volume.

It goes where the data goes, when a host's disk is put into another host or its engine's folder is restored, and marks
volumes that existed before the cluster, which labels cannot. No container sees it: they have `_data`, next to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import msgspec

from worker.interfaces.engine import EngineVolume
from worker.interfaces.volumes import Mark

MARK_FILE = "swarm.json"
_DATA = "_data"
_LONGEST = 4096

_log = logging.getLogger(__name__)


class _Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    lineage: str
    generation: int
    task: str = ""
    kept_of: str = ""
    kept_since: float = 0.0


_DECODER = msgspec.json.Decoder(_Content)


class HostMarks:
    """Marks on this host's file system. Volumes of plugins have none: their data need not be here."""

    async def read(self, volume: EngineVolume) -> Mark | None:
        return await asyncio.to_thread(_read, volume)

    async def write(self, volume: EngineVolume, mark: Mark) -> bool:
        return await asyncio.to_thread(_write, volume, mark)


def folder_of(volume: EngineVolume) -> Path | None:
    """Return the folder that a volume's data and mark are in; None where the engine does not keep the data itself."""
    path = Path(volume.mountpoint)
    if volume.driver != "local" or not path.is_absolute() or path.name != _DATA:
        return None
    return path.parent


def _read(volume: EngineVolume) -> Mark | None:
    folder = folder_of(volume)
    if folder is None:
        return None
    try:
        with (folder / MARK_FILE).open("rb") as file:
            content = _DECODER.decode(file.read(_LONGEST))
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        _log.warning("the mark of volume %s cannot be read: %s", volume.name, error)
        return None
    return Mark(content.lineage, content.generation, content.task, content.kept_of, content.kept_since)


def _write(volume: EngineVolume, mark: Mark) -> bool:
    folder = folder_of(volume)
    if folder is None:
        return False
    content = msgspec.json.encode(
        _Content(
            lineage=mark.data_id,
            generation=mark.generation,
            task=mark.task,
            kept_of=mark.kept_of,
            kept_since=mark.kept_since,
        )
    )
    new = folder / f".{MARK_FILE}.new"
    try:
        with new.open("wb") as file:
            file.write(content + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / MARK_FILE)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        _log.warning("volume %s cannot be marked: %s", volume.name, error)
        return False
    return True
