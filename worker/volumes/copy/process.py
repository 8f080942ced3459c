"""The parent's side of one half of a copy: starts the process, tells it what to do, hears what it reports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from common.errors import Unavailable, of_code
from worker.volumes.copy.control import AnyReport, Command, Failed, Report, Stopped, encode, parse_report

_LINE_BYTES = 64 * 1024
_STOP_SECONDS = 5.0
Part = Literal["send", "receive", "export", "import"]

_Report = TypeVar("_Report", bound=Report)


class CopyProcess:
    """One half, running. Make it with `copying`, which ends it whatever happens."""

    def __init__(
        self, process: asyncio.subprocess.Process, reports: asyncio.StreamReader, commands: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reports = reports
        self._commands = commands

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, do: Literal["pass", "last", "verify", "limit", "stop"], rate: float = 0) -> None:
        """Give a command; rate: of `limit`, bytes a second. To a process that is gone it means nothing."""
        self._commands.write(encode(Command(do, rate)))

    async def report(self) -> AnyReport:
        """Wait for the next report.

        Raises:
            SwarmError: the copy has failed, in the words of the side that saw it.

        """
        try:
            line = await self._reports.readline()
        except ConnectionError:
            line = b""
        except ValueError as error:  # asyncio's word for a line that is too long
            raise Unavailable("the copying process sent a malformed report: it is too long") from error
        if not line:
            raise Unavailable(f"the copying process ended with status {await self._process.wait()}")
        try:
            report = parse_report(line)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"the copying process sent a malformed report: {error}") from error
        if isinstance(report, Failed):
            raise of_code(report.code, report.message)
        return report

    async def wait_for(self, kind: type[_Report]) -> _Report:
        """Wait for a report of this kind, passing over others."""
        while True:
            report = await self.report()
            if isinstance(report, kind):
                return report
            if isinstance(report, Stopped):
                raise Unavailable("the other side has stopped the copy")

    async def end(self) -> None:
        """Tell it to stop, and see that it does."""
        self.tell("stop")
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        finally:
            self._commands.close()
            with contextlib.suppress(ConnectionError):
                await self._commands.wait_closed()


@contextlib.asynccontextmanager
async def copying_here(
    source: Path, target: Path, work: Path, options: Sequence[str] = ()
) -> AsyncIterator[CopyProcess]:
    """Start both halves of a copy within this host, and run the block with the sender, which tells of both.

    work: the folder for both indexes. options: further ones of the sender's command line. Where the file system can,
    files of the target share their blocks with the source's.
    """
    sends, receives = socket.socketpair()
    with sends:  # until the sender has it
        async with (
            copying("receive", target, receives, work=work / "receive", options=("--like", str(source))),
            copying("send", source, sends, work=work / "send", options=options) as sender,
        ):
            yield sender


@contextlib.asynccontextmanager
async def copying(
    part: Part, folder: Path, peer: socket.socket, *, work: Path | None = None, options: Sequence[str] = ()
) -> AsyncIterator[CopyProcess]:
    """Start one half, or an archive's process, with a socket to the other side, which is closed here; run the block.

    work: the folder for a half's index. options: further ones of the command line, like `--limit`.

    Raises:
        Unavailable: no process can be started.

    """
    ours, its = socket.socketpair()
    with its, peer:
        reports, commands = await asyncio.open_connection(sock=ours, limit=_LINE_BYTES)
        arguments = [part, str(folder), "--peer", str(peer.fileno()), "--control", str(its.fileno())]
        if work is not None:
            arguments += ["--work", str(work)]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "worker.volumes.copy", *arguments, *options),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(peer.fileno(), its.fileno()),
            )
        except BaseException as error:
            commands.close()
            if isinstance(error, OSError):
                raise Unavailable(f"cannot start the copying process: {error.strerror}") from error
            raise
    running = CopyProcess(process, reports, commands)
    try:
        yield running
    finally:
        await running.end()
