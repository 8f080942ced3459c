"""Holds what writes to a volume while the last pass of a copy reads it, so that the copy is of one instant."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from common.errors import FailedPrecondition, Unavailable
from worker.volumes.copy.control import Passed, Taken
from worker.volumes.copy.process import CopyProcess

# Longer than this no program is to stand still: its clients would notice.
PAUSE_SECONDS = 2.0
# Pauses that were not long enough, each after another pass while the programs run.
MOST_PAUSES = 5
_RECORD = ".paused.json"

_log = logging.getLogger(__name__)


class _Said(msgspec.Struct, frozen=True):
    """What the pausing program says: `paused` containers, then after how many `seconds` they went on."""

    paused: int = 0
    seconds: float = 0.0
    late: bool = False


class PauseEnd(msgspec.Struct, frozen=True):
    """How long programs stood still; `late`: they went on before all was read."""

    seconds: float
    late: bool


_SAID = msgspec.json.Decoder(_Said)


class Pause:
    """Containers that stand still. They go on at `end`, or by themselves after `PAUSE_SECONDS`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def end(self) -> PauseEnd:
        """Let them go on.

        Raises:
            Unavailable: nobody knows whether they do.

        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        said = await self.heard()
        return PauseEnd(said.seconds, said.late)

    async def heard(self) -> _Said:
        """Wait for the program's next line. Raises Unavailable: it has failed."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = await self._process.stdout.readline()
        if not line:
            why = (await self._process.stderr.read()).decode(errors="replace").strip()
            raise Unavailable(f"the containers cannot be paused: {why or 'the program that does it was killed'}")
        return _SAID.decode(line)


class Holds:
    """Pauses containers of this host's engine. `folder` has records of those that stand still."""

    def __init__(self, engine: str, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        # What another copy has paused would not be seen to write, and go on in the middle of this one.
        self._one = asyncio.Lock()

    async def recover(self) -> None:
        """Let go on what a killed agent has left paused."""
        for record in self._folder.glob(f"*{_RECORD}"):
            process = await self._start("thaw", self._engine, str(record))
            _, said = await process.communicate()
            if process.returncode:
                _log.error("containers are still paused, see %s: %s", record, said.decode(errors="replace").strip())
            else:
                _log.warning("containers that were paused for a copy when the agent was killed go on")

    @contextlib.asynccontextmanager
    async def paused(self, volume: str) -> AsyncIterator[Pause]:
        """Have all containers that mount a volume for writing stand still for the block.

        Raises:
            Unavailable: they cannot be paused.

        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        record = self._folder / f"{volume}{_RECORD}"
        async with self._one:
            process = await self._start("pause", self._engine, volume, str(PAUSE_SECONDS), str(record))
            assert process.stdin is not None
            pause = Pause(process)
            try:
                await pause.heard()
                yield pause
            finally:
                process.stdin.close()
                await asyncio.shield(process.wait())

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start the program, in a session of its own: what ends the agent is not to end it."""
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "worker.volumes.pausing", *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"cannot start the program that pauses containers: {error.strerror}") from error


async def held_pass(process: CopyProcess, holds: Holds, volume: str) -> tuple[Passed, float]:
    """Make the last pass while the volume's writers are paused; return it, and the seconds that they stood still.

    A pause that is too short for it is followed by another pass while they run, and another pause.

    Raises:
        FailedPrecondition: none was long enough.
        SwarmError: the copy has failed.

    """
    for _ in range(MOST_PAUSES):
        async with holds.paused(volume) as pause:
            process.tell("last")
            await process.wait_for(Taken)
            end = await pause.end()
        passed = await process.wait_for(Passed)
        if not end.late:
            return passed, end.seconds
        process.tell("pass")
        await process.wait_for(Passed)
    raise FailedPrecondition(
        f"the last pass took longer than the {PAUSE_SECONDS:g} s that containers may be paused, {MOST_PAUSES} times: "
        "stop the tasks for it (--hold stop)"
    )
