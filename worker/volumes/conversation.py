"""What a manager and one half of a copy say to each other, passed on: commands to the process, reports as events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from common.errors import ProtocolError, Unavailable
from common.wire.volume_copy import MAX_LINE, CopyCommand, CopyEvent
from worker.volumes.copy.control import AnyReport, Failed, Passed, Progress, Ready, Stopped, Verified
from worker.volumes.copy.process import CopyProcess
from worker.volumes.holds import Holds, held_pass

T = TypeVar("T")

_COMMAND = msgspec.json.Decoder(CopyCommand)


@dataclass(frozen=True, slots=True)
class Actions:
    """What a manager may have done with a half's volume: give it a mark of this generation, remove it.

    `check_source` raises a SwarmError if the volume that was read is not there any more.
    """

    mark: Callable[[int], Awaitable[None]]
    remove: Callable[[], Awaitable[None]]
    check_source: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Half:
    """One half of a copy, or both. `volume` is what its last pass may be held for; `stopped`: the manager has said so.

    holds: None where no container can be paused.
    """

    volume: str
    process: CopyProcess
    holds: Holds | None
    actions: Actions
    stopped: bool = False

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand commands to the process and its reports to the manager, until one of them has no more to say."""
        while await self._converse(reader, writer):
            with next_word(reader) as word:
                held = await unless_told(self._hold(), word)
            say(writer, held)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass on what is said; return whether that was to hold the last pass, and the end otherwise."""
        hearing, telling = (asyncio.create_task(each) for each in (self._hear(reader, writer), self._tell(writer)))
        try:
            await asyncio.wait({hearing, telling}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
                return False
            return hearing.result() is True
        finally:
            for job in (hearing, telling):
                job.cancel()
            await asyncio.wait({hearing, telling})

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while line := await reader.readline():
            command = decode(_COMMAND, line)
            match command.do:
                case "mark":
                    await self.actions.mark(command.generation)
                    say(writer, CopyEvent(event="marked"))
                case "remove":
                    await self.actions.remove()
                    say(writer, CopyEvent(event="removed"))
                case "last" if command.hold:
                    return True
                case _:
                    self.stopped = self.stopped or command.do == "stop"
                    self.process.tell(command.do)
        return False

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        while not isinstance(report := await self.process.report(), Stopped):
            if isinstance(report, Passed) and report.digest:  # of a last pass, after which what was read may count
                await self.actions.check_source()
            if (event := _event(report)) is not None:
                say(writer, event)
                await writer.drain()

    async def _hold(self) -> CopyEvent:
        if self.holds is None:
            raise Unavailable("this worker cannot pause containers")
        passed, seconds = await held_pass(self.process, self.holds, self.volume)
        await self.actions.check_source()
        return _passed(passed, seconds)


@contextlib.contextmanager
def next_word(reader: asyncio.StreamReader) -> Iterator[asyncio.Task[bytes]]:
    """Listen for the manager's next line; it is empty when the manager is gone."""

    async def listen() -> bytes:
        try:
            return await reader.readline()
        except OSError:
            return b""

    word = asyncio.create_task(listen())
    try:
        yield word
    finally:
        word.cancel()


async def unless_told(work: Coroutine[object, object, T], word: asyncio.Task[bytes]) -> T:
    """Do this while the manager says nothing.

    Raises:
        Unavailable: it wants it no more, or is gone.

    """
    job = asyncio.ensure_future(work)
    try:
        await asyncio.wait({job, word}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise Unavailable("the manager has stopped this, or is gone")
        return job.result()
    finally:
        job.cancel()
        await asyncio.wait({job})


def decode(decoder: msgspec.json.Decoder[T], line: bytes) -> T:
    """Read what a manager says. Raises ProtocolError: this worker does not understand it."""
    if len(line) > MAX_LINE:
        raise ProtocolError("a line that is too long")
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"the manager sent something that this worker does not understand: {error}") from error


def say(writer: asyncio.StreamWriter, event: CopyEvent) -> None:
    writer.write(msgspec.json.encode(event) + b"\n")


def _event(report: AnyReport) -> CopyEvent | None:
    """Return what a manager hears of a report."""
    match report:
        case Ready():
            return CopyEvent(event="ready")
        case Progress():
            return CopyEvent(event="progress", done=report.done, left=report.left, seconds=report.seconds)
        case Passed():
            return _passed(report)
        case Verified():
            return CopyEvent(event="verified", digest=report.digest)
        case Failed():
            return CopyEvent(event="failed", code=report.code, message=report.message)
    return None


def _passed(report: Passed, held: float = 0.0) -> CopyEvent:
    return CopyEvent(
        event="passed", done=report.read, next=str(report.next), rest=report.rest, digest=report.digest, held=held
    )
