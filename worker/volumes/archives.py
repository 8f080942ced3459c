"""A volume as a tar archive: written from one that there is, or read into one that is made for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from common.errors import AlreadyExists, FailedPrecondition, NotFound, SwarmError, Unavailable
from common.wire.channel import carry
from common.wire.volume_copy import Ends
from worker.interfaces.engine import Engine, EngineVolume
from worker.interfaces.volumes import Mark, Marks
from worker.volumes.copy.control import Archived
from worker.volumes.copy.process import CopyProcess, copying
from worker.volumes.marks import folder_of

_log = logging.getLogger(__name__)


async def existing(engine: Engine, name: str) -> EngineVolume:
    """Find a volume whose data the engine has in a folder of its own.

    Raises:
        NotFound: there is none of this name.
        FailedPrecondition: its data is elsewhere.

    """
    volume = await engine.volume(name)
    if volume is None:
        raise NotFound(f"volume {name} is not on this host")
    if folder_of(volume) is None or volume.options:
        raise FailedPrecondition(f"volume {name} is of another driver, or has options: back up what it leads to")
    return volume


async def check_kept(engine: Engine, marks: Marks, name: str, mark: Mark | None) -> None:
    """Check that a volume which was read is still the one with this mark.

    An engine answers only when a removal that it has begun is over. Without this, a volume that is removed meanwhile,
    as a prune on the host may do, reads as an empty one.

    Raises:
        FailedPrecondition: it was removed, or made anew.

    """
    volume = await engine.volume(name)
    if volume is None or await marks.read(volume) != mark:
        raise FailedPrecondition(f"volume {name} was removed on this host while it was read")


@contextlib.asynccontextmanager
async def made(engine: Engine, name: str) -> AsyncIterator[EngineVolume]:
    """Make a volume for the block, which is removed again if the block fails.

    Raises:
        AlreadyExists: there is one of this name.

    """
    if await engine.volume(name) is not None:
        raise AlreadyExists(f"volume {name} is on this host already: remove it first, or choose another name")
    volume = await engine.create_volume(name)
    try:
        yield volume
    except BaseException:
        try:
            await engine.remove_volume(name)
        except SwarmError as error:
            _log.warning("volume %s has half of an archive, and cannot be removed: %s", name, error.message)
        raise


async def write_out(volume: EngineVolume, data: Ends) -> int:
    """Write a volume to the stream; return the archive's length when the stream has taken all of it."""
    async with _process("export", volume) as (process, near):
        carrying = asyncio.create_task(_carry((near[0], data[1]), near))
        return await _both(process, carrying)


async def read_in(volume: EngineVolume, data: Ends) -> int:
    """Fill a volume from the stream; return the archive's length when all of it is on the disk."""
    async with _process("import", volume) as (process, near):
        carrying = asyncio.create_task(_carry((data[0], near[1]), near))
        return await _both(process, carrying)


@contextlib.asynccontextmanager
async def _process(part: Literal["export", "import"], volume: EngineVolume) -> AsyncIterator[tuple[CopyProcess, Ends]]:
    ours, its = socket.socketpair()
    with its:
        near = await asyncio.open_connection(sock=ours)
        try:
            async with copying(part, Path(volume.mountpoint), its) as process:
                yield process, near
        finally:
            near[1].close()


async def _carry(way: Ends, near: Ends) -> None:
    """Carry bytes one way. Where that breaks, the process hears of it, as it would wait for ever."""
    try:
        await carry(*way)
    except OSError as error:
        near[1].close()
        raise Unavailable(f"the connection broke: {error.strerror or error}") from error


async def _both(process: CopyProcess, carrying: asyncio.Task[None]) -> int:
    """Wait until the process has done its work and all bytes are carried; of two failures the cause is told."""
    try:
        try:
            length = (await process.wait_for(Archived)).bytes
        except SwarmError:
            if carrying.done():
                carrying.result()
            raise
        await carrying
        return length
    finally:
        carrying.cancel()
        await asyncio.wait({carrying})
