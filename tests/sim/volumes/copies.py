"""Copies of volumes between simulated hosts: the worker's real side of the streams, over processes that copy numbers.

A pass reads one number after the other while containers go on counting, and takes its time, as a walk through a folder
does: what it brings is no instant's, and only a last pass in which nobody writes brings all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from common.errors import FailedPrecondition, ResourceExhausted, SwarmError, Unavailable, of_code
from common.wire.channel import open_raw
from common.wire.memory import memory_channel_pair
from common.wire.volume_copy import Ends, Order
from tests.sim.volumes.disks import Disk, SimVolume
from worker.interfaces.engine import EngineVolume
from worker.interfaces.volumes import Mark
from worker.volumes.copy.control import AnyReport, Failed, Passed, Ready, Stopped
from worker.volumes.copy.process import CopyProcess
from worker.volumes.transfers import VolumeTransfers

MOST_SECONDS = 4.0
_WAIT_SECONDS = 60.0
# How a host that sends is slow: it stands still for a while in each pass, or sends a few bytes a second, for ever.
Pace: TypeAlias = Literal["usual", "pauses", "trickles"]
PAUSE_SECONDS = 300.0


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What halves say to each other: numbers by slot; the `end` of a pass, or of the copy; the receiver's answer."""

    numbers: dict[str, int] = {}
    end: str = ""


_LINE = msgspec.json.Decoder(_Line)


class SimTransfers(VolumeTransfers):
    """A simulated host's side of copies. `faults`: the part of halves that fail somewhere by themselves.

    `pace`: how the host's senders are slow. `wait`: for how many seconds a half waits for a word of the other.
    """

    def __init__(self, disk: Disk, rng: random.Random) -> None:
        super().__init__(_Engine(disk), _Marks(disk), Path())  # type: ignore[arg-type]  # two calls of it
        self.disk = disk
        self._rng = rng
        self.faults = 0.0
        self.pace: Pace = "usual"
        self.wait = _WAIT_SECONDS
        # The sources of copies within this host, by their orders: of all of them tasks stop.
        self._clones: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def _process(self, order: Order, volume: EngineVolume, data: Ends) -> AsyncIterator[CopyProcess]:
        fails = self._rng.random() < self.faults
        half = _Half(self, volume.name, data, random.Random(self._rng.random()), fails=fails)
        job = asyncio.create_task(half.send() if order.part == "send" else half.receive())
        try:
            yield half  # type: ignore[misc]  # all that is asked of a process
        finally:
            job.cancel()
            await asyncio.wait({job})
            data[1].close()

    @contextlib.asynccontextmanager
    async def _process_here(
        self, order: Order, source: EngineVolume, target: EngineVolume
    ) -> AsyncIterator[CopyProcess]:
        near, far = (open_raw(channel) for channel in memory_channel_pair())
        made = replace(order, part="receive", volume=target.name)
        async with self._process(made, target, far), self._process(replace(order, part="send"), source, near) as sender:
            yield sender

    async def _mark(self, volume: EngineVolume, order: Order, generation: int) -> None:
        await super()._mark(volume, order, generation)
        if source := self._clones.get(order.id):
            self.disk.check_still(source, volume.name)

    async def _clone(self, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clones[order.id] = order.volume
        try:
            await super()._clone(order, reader, writer)
        finally:
            del self._clones[order.id]

    async def _forget(self, key: str) -> None:
        """There is no index to remove."""


class _Engine:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def volume(self, name: str) -> EngineVolume | None:
        return EngineVolume(name=name) if name in self._disk.volumes else None

    async def create_volume(self, name: str) -> EngineVolume:
        self._disk.volumes[name] = SimVolume("", 0)
        return EngineVolume(name=name)

    async def remove_volume(self, name: str) -> None:
        self._disk.volumes.pop(name, None)


class _Marks:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def read(self, volume: EngineVolume) -> Mark | None:
        found = self._disk.volumes.get(volume.name)
        return Mark(found.data_id, found.generation) if found is not None else None

    async def write(self, volume: EngineVolume, mark: Mark) -> bool:
        found = self._disk.volumes.get(volume.name)
        if found is None:
            return False
        found.data_id, found.generation, found.task = mark.data_id, mark.generation, mark.task
        return True


class _Half:
    """A process that copies, as its parent sees it."""

    def __init__(self, host: SimTransfers, name: str, data: Ends, rng: random.Random, *, fails: bool) -> None:
        self._disk = host.disk
        self._name = name
        self._reader, self._writer = data
        self._rng = rng
        self._pace, self._wait = host.pace, host.wait
        self._steps_left = rng.randint(0, 12) if fails else -1
        self._commands: asyncio.Queue[str] = asyncio.Queue()
        self._reports: asyncio.Queue[AnyReport] = asyncio.Queue()

    # --- what its parent asks ---

    def tell(self, do: str) -> None:
        self._commands.put_nowait(do)

    async def report(self) -> AnyReport:
        report = await self._reports.get()
        if isinstance(report, Failed):
            raise of_code(report.code, report.message)
        return report

    # --- the two halves ---

    async def send(self) -> None:
        with self._reported():
            await self._hear()
            self._reports.put_nowait(Ready())
            number = 0
            while (command := await self._commands.get()) != "stop":
                number += 1
                self._reports.put_nowait(await self._pass(number, last=command == "last"))
            self._say(_Line(end="stop"))

    async def receive(self) -> None:
        with self._reported():
            self._say(_Line(numbers=dict(self._volume().numbers)))
            while (line := await self._hear()).end != "stop":
                await self._step(0.1)
                for key, number in line.numbers.items():
                    self._volume().numbers[key] = number
                if line.end:
                    self._say(_Line(numbers=dict(self._volume().numbers), end=line.end))

    async def _pass(self, number: int, *, last: bool) -> Passed:
        began = asyncio.get_running_loop().time()
        await self._dawdle()
        keys = sorted(self._volume().numbers)
        sent = {}
        for key in keys:
            await self._step(MOST_SECONDS / len(keys))
            sent[key] = self._volume().numbers[key]
            self._say(_Line(numbers={key: sent[key]}))
        await self._step(MOST_SECONDS / 4)
        self._say(_Line(end="pass"))
        answer = await self._hear()
        digest = ""
        if last:
            if {key: answer.numbers[key] for key in answer.numbers.keys() & sent.keys()} != sent:
                raise FailedPrecondition("the target does not match what was sent: the digests differ")
            digest = "same"
        seconds = asyncio.get_running_loop().time() - began
        again = not last and number < 3 and self._rng.random() < 0.4
        return Passed(
            number=number,
            sent=len(sent),
            read=len(sent),
            files=len(sent),
            seconds=seconds,
            next="pass" if again else "last",
            rest=seconds,
            digest=digest,
        )

    # --- inside ---

    async def _dawdle(self) -> None:
        """Be slow as this host is."""
        if self._pace == "pauses":
            await asyncio.sleep(PAUSE_SECONDS)
        while self._pace == "trickles":
            self._say(_Line())
            await asyncio.sleep(1.0)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Report how what the block does has ended."""
        try:
            yield
        except SwarmError as error:
            self._reports.put_nowait(Failed(error.code, error.message))
        else:
            self._reports.put_nowait(Stopped())

    def _volume(self) -> SimVolume:
        found = self._disk.volumes.get(self._name)
        if found is None:
            raise FailedPrecondition(f"volume {self._name} was removed while it was being copied")
        return found

    async def _step(self, seconds: float) -> None:
        """Take some time, and fail where this half is one that does."""
        await asyncio.sleep(self._rng.uniform(0.0, seconds))
        self._steps_left -= 1
        if self._steps_left == -1:
            raise self._rng.choice([ResourceExhausted("the target has too little room"), Unavailable("it was killed")])

    def _say(self, line: _Line) -> None:
        self._writer.write(msgspec.json.encode(line) + b"\n")

    async def _hear(self) -> _Line:
        try:
            async with asyncio.timeout(self._wait):
                line = await self._reader.readline()
        except (OSError, TimeoutError):
            line = b""
        if not line:
            raise Unavailable("the other side of the copy is gone")
        return _LINE.decode(line)
