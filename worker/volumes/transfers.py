"""This host's halves of copies of volumes, and archives: child processes do what a manager says on the streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, ProtocolError, SwarmError, Unavailable
from common.wire.channel import splice
from common.wire.volume_copy import ID, VOLUME_NAME, CopyCommand, CopyEvent, Ends, Order
from worker.interfaces.engine import Engine, EngineVolume, Phase
from worker.interfaces.volumes import Mark, Marks
from worker.volumes import archives
from worker.volumes.conversation import Actions, Half, decode, next_word, say, unless_told
from worker.volumes.copy.process import CopyProcess, Part, copying, copying_here
from worker.volumes.holds import Holds

ATTACH_SECONDS = 15.0
# By then a half that gets no data stream, or is told to stop, has ended.
_PREDECESSOR_SECONDS = 25.0
# The generation of a volume that is not whole yet, and so is not taken for a copy.
PARTIAL = 0

_log = logging.getLogger(__name__)
_ORDER = msgspec.json.Decoder(Order)
_COMMAND = msgspec.json.Decoder(CopyCommand)


class VolumeTransfers:
    """Serves the streams. `folder` has the halves' indexes while copies last, and for those that are resumed."""

    def __init__(self, engine: Engine, marks: Marks, folder: Path, holds: Holds | None = None) -> None:
        self._engine = engine
        self._marks = marks
        self._folder = folder
        self._holds = holds
        self._waiting: dict[str, asyncio.Future[Ends]] = {}
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._filled: set[str] = set()

    async def data(self, ends: Ends) -> None:
        """Take a data stream: it belongs to the control stream with the same order, which sees to its end."""
        try:
            self._expected(await _read_order(ends[0])).set_result(ends)
        except BaseException:
            ends[1].close()
            raise

    def _expected(self, order: Order) -> asyncio.Future[Ends]:
        waiting = self._waiting.get(_key(order))
        if waiting is None or waiting.done():
            raise ProtocolError("a data stream that no copy waits for")
        return waiting

    async def control(self, ends: Ends) -> None:
        """Carry out one half of a copy, until the manager stops it or either end is gone."""
        reader, writer = ends
        try:
            order = await _read_order(reader)
            match order.part:
                case "export":
                    await self._export(order, reader, writer)
                case "import":
                    await self._import(order, reader, writer)
                case "clone":
                    async with self._alone(order):
                        await self._clone(order, reader, writer)
                case _:
                    async with self._alone(order):
                        await self._serve(order, reader, writer)
        except SwarmError as error:
            _log.warning("a copy or an archive of a volume ends: %s", error.message)
            say(writer, CopyEvent(event="failed", code=error.code, message=error.message))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        finally:
            writer.close()

    async def _serve(self, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        volume = await self._prepare(order)
        data = await self._attached(order, writer)
        half: Half | None = None
        try:
            async with self._process(order, volume, data) as process:
                half = Half(order.volume, process, self._holds, self._actions(order, order, volume))
                await half.converse(reader, writer)
        except SwarmError:
            if half is None or not half.stopped:  # else the other half has stopped first
                raise
        finally:
            if half is not None and half.stopped:  # else its index makes the next try shorter
                await self._forget(_key(order))

    @contextlib.asynccontextmanager
    async def _alone(self, order: Order) -> AsyncIterator[None]:
        """Wait until the half before this one has ended: two would write one volume, or one index.

        A manager that begins anew does not know whether this host has noticed yet that the one before it is gone.
        """
        what = f"volume {order.volume}" if order.part == "receive" else _key(order)
        lock = self._busy.setdefault(what, asyncio.Lock())
        try:
            async with asyncio.timeout(_PREDECESSOR_SECONDS):
                await lock.acquire()
        except TimeoutError:
            raise Unavailable(f"an earlier copy of volume {order.volume} is still ending on this host") from None
        try:
            yield
        finally:
            lock.release()

    async def _forget(self, key: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder / key, ignore_errors=True)

    async def _export(self, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send a volume as an archive."""
        volume = await archives.existing(self._engine, order.volume)
        mark = await self._marks.read(volume)
        with next_word(reader) as word:
            data = await unless_told(self._attached(order, writer), word)
            with contextlib.closing(data[1]):
                length = await unless_told(archives.write_out(volume, data), word)
                await archives.check_kept(self._engine, self._marks, order.volume, mark)
                say(writer, CopyEvent(event="archived", done=length))
                await word  # which ends the streams: not before all is read

    async def _import(self, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Make a volume of an archive. It stays when the manager says so, which knows whether all has come."""
        if order.volume in self._filled:
            raise AlreadyExists(f"volume {order.volume} is already being restored from another archive")
        self._filled.add(order.volume)
        try:
            async with archives.made(self._engine, order.volume) as volume:
                await self._must_mark(volume, Mark(order.data_id, PARTIAL))
                with next_word(reader) as word:
                    data = await unless_told(self._attached(order, writer), word)
                    with contextlib.closing(data[1]):
                        length = await unless_told(archives.read_in(volume, data), word)
                    say(writer, CopyEvent(event="archived", done=length))
                    if not (line := await word):
                        raise Unavailable("the manager was gone before it confirmed that the archive is complete")
                await self._mark(volume, order, decode(_COMMAND, line).generation)
                say(writer, CopyEvent(event="marked"))
        finally:
            self._filled.discard(order.volume)

    async def _attached(self, order: Order, writer: asyncio.StreamWriter) -> Ends:
        """Say that all is prepared, and wait for the data stream."""
        key = _key(order)
        waiting: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()
        self._waiting[key] = waiting
        try:
            say(writer, CopyEvent(event="prepared"))
            async with asyncio.timeout(ATTACH_SECONDS):
                return await waiting
        except TimeoutError:
            raise Unavailable("the manager opened no stream for the copy's data") from None
        finally:
            del self._waiting[key]

    @contextlib.asynccontextmanager
    async def _process(self, order: Order, volume: EngineVolume, data: Ends) -> AsyncIterator[CopyProcess]:
        """Run the copying process, its peer joined with the data stream."""
        work = self._work(order)
        ours, its = socket.socketpair()
        near = await asyncio.open_connection(sock=ours)
        joined = asyncio.create_task(splice(near, data))
        try:
            part: Part = "send" if order.part == "send" else "receive"
            async with copying(part, Path(volume.mountpoint), its, work=work, options=_limit(order)) as process:
                yield process
        finally:
            joined.cancel()
            await asyncio.wait({joined})
            near[1].close()
            data[1].close()

    async def _clone(self, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy a volume into a new one of this host, which stays when it is whole."""
        source = await self._prepare(order)
        made = replace(order, part="receive", volume=order.as_volume, data_id=order.as_data_id)
        await self._discard_partial(made)
        async with archives.made(self._engine, made.volume) as target:
            await self._must_mark(target, Mark(made.data_id, PARTIAL, made.task))
            say(writer, CopyEvent(event="prepared"))
            try:
                async with self._process_here(order, source, target) as process:
                    half = Half(order.volume, process, self._holds, self._actions(order, made, target))
                    await half.converse(reader, writer)
            finally:
                await self._forget(_key(order))
            mark = await self._marks.read(target)
            if mark is None or not mark.generation:
                raise Unavailable(f"volume {made.volume} was not made: its copy was ended before it was whole")

    def _process_here(
        self, order: Order, source: EngineVolume, target: EngineVolume
    ) -> contextlib.AbstractAsyncContextManager[CopyProcess]:
        """Run the processes of both halves of a clone."""
        return copying_here(Path(source.mountpoint), Path(target.mountpoint), self._work(order), _limit(order))

    async def _discard_partial(self, order: Order) -> None:
        """Remove what a clone that was broken off has left."""
        there = await self._engine.volume(order.volume)
        mark = await self._marks.read(there) if there is not None else None
        if mark == Mark(order.data_id, PARTIAL):
            await self._engine.remove_volume(order.volume)

    def _actions(self, source: Order, order: Order, volume: EngineVolume) -> Actions:
        """Return what a manager may have done with the volume of an order; `source` names what is read."""

        async def mark(generation: int) -> None:
            await self._mark(volume, order, generation)

        async def remove() -> None:
            if order.part != "send" or await self._marks.read(volume) != Mark(order.data_id, order.generation):
                raise ProtocolError("only a volume that was sent is removed, and as it was sent")
            for container in await self._engine.mounting(volume.name):
                if container.agent and container.phase is Phase.EXITED:  # a task's, kept for its logs
                    await self._engine.remove(container.id)
            await self._engine.remove_volume(volume.name)

        async def check_source() -> None:
            mark = Mark(source.data_id, source.generation)
            await archives.check_kept(self._engine, self._marks, source.volume, mark)

        return Actions(mark, remove, check_source)

    def _work(self, order: Order) -> Path:
        work = self._folder / _key(order)
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
        return work

    async def _prepare(self, order: Order) -> EngineVolume:
        """Find the volume that is sent, or that is written to, which is made if need be.

        Raises:
            FailedPrecondition: what is here is other data.

        """
        volume = await self._engine.volume(order.volume)
        if volume is None and order.part == "receive":
            volume = await self._engine.create_volume(order.volume)
            await self._must_mark(volume, Mark(order.data_id, PARTIAL))
        mark = await self._marks.read(volume) if volume is not None else None
        if volume is None or mark is None:
            raise FailedPrecondition(f"volume {order.volume} is not on this host, or has no mark")
        if mark.data_id != order.data_id:
            raise FailedPrecondition(f"volume {order.volume} on this host has other data: remove or rename it first")
        if order.part in ("send", "clone") and mark.generation != order.generation:
            raise FailedPrecondition(f"volume {order.volume} has data of generation {mark.generation} on this host")
        if order.part == "receive":
            if mark.generation >= order.generation and not (order.resumes and mark.generation == order.generation + 1):
                raise FailedPrecondition(f"volume {order.volume} has newer data on this host than the copy would bring")
            await self._must_mark(volume, Mark(order.data_id, PARTIAL))
        return volume

    async def _mark(self, volume: EngineVolume, order: Order, generation: int) -> None:
        if order.part not in ("receive", "import") or generation <= order.generation:
            raise ProtocolError("only what was received gets another mark, and a higher one")
        await self._must_mark(volume, Mark(order.data_id, generation, order.task))

    async def _must_mark(self, volume: EngineVolume, mark: Mark) -> None:
        if not await self._marks.write(volume, mark):
            raise FailedPrecondition(f"volume {volume.name} cannot be marked: its engine keeps it out of reach")


def _key(order: Order) -> str:
    return f"{order.id}-{order.part}"


async def _read_order(reader: asyncio.StreamReader) -> Order:
    try:
        async with asyncio.timeout(ATTACH_SECONDS):
            order = decode(_ORDER, await reader.readline())
    except TimeoutError:
        raise ProtocolError("a copy's stream without an order") from None
    names = (order.volume, order.as_volume or order.volume)
    if any(VOLUME_NAME.fullmatch(name) is None for name in names) or ID.fullmatch(order.id) is None:
        raise InvalidArgument("invalid copy: its volume or its id is not a valid name")
    return order


def _limit(order: Order) -> tuple[str, ...]:
    return ("--limit", f"{order.limit:.0f}") if order.part != "receive" and order.limit > 0 else ()
