"""A host with folders for volumes, and the manager's ends of streams to its worker; copying processes are real."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from common.wire.volume_copy import CopyCommand, CopyEvent, Order
from worker.interfaces.engine import Container, EngineVolume
from worker.interfaces.volumes import Mark
from worker.volumes.holds import Holds
from worker.volumes.marks import HostMarks
from worker.volumes.transfers import VolumeTransfers

LINEAGE = "d" * 32


class Host:
    """An engine that has folders for volumes, and the worker's side of copies."""

    def __init__(self, folder: Path, holds: Holds | None = None) -> None:
        self.folder = folder
        self.containers: tuple[Container, ...] = ()
        self.transfers = VolumeTransfers(self, HostMarks(), folder / "copies", holds)  # type: ignore[arg-type]

    def data(self, name: str = "data") -> Path:
        return self.folder / name / "_data"

    async def volume(self, name: str) -> EngineVolume | None:
        path = self.data(name)
        return EngineVolume(name=name, mountpoint=str(path)) if path.exists() else None

    async def volumes(self) -> tuple[EngineVolume, ...]:
        found = [await self.volume(path.parent.name) for path in sorted(self.folder.glob("*/_data"))]
        return tuple(filter(None, found))

    async def create_volume(self, name: str) -> EngineVolume:
        self.data(name).mkdir(parents=True)
        found = await self.volume(name)
        assert found is not None
        return found

    async def mounting(self, volume: str) -> tuple[Container, ...]:
        return self.containers if self.data(volume).exists() else ()

    async def remove(self, container: str, *, volumes: bool = True) -> None:
        self.containers = tuple(each for each in self.containers if each.id != container)

    async def remove_volume(self, name: str) -> None:
        shutil.rmtree(self.data(name).parent)

    async def mark(self, generation: int, data_id: str = LINEAGE, name: str = "data") -> None:
        found = await self.volume(name) or await self.create_volume(name)
        await HostMarks().write(found, Mark(data_id, generation))

    async def marked(self, name: str = "data") -> Mark | None:
        found = await self.volume(name)
        return await HostMarks().read(found) if found is not None else None


class Control:
    """The manager's end of a control stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def event(self, wanted: str) -> CopyEvent:
        while True:
            found = msgspec.json.decode(await self.reader.readline(), type=CopyEvent)
            assert found.event in (wanted, "prepared", "progress", "ready"), found
            if found.event == wanted:
                return found

    def tell(self, do: str, generation: int = 0, *, hold: bool = False) -> None:
        command = CopyCommand(do=do, generation=generation, hold=hold)  # type: ignore[arg-type]
        self.writer.write(msgspec.json.encode(command) + b"\n")


@asynccontextmanager
async def opened(serve: object, order: Order) -> AsyncIterator[Control]:
    """Open a stream that `serve` serves, and give it its order."""
    ours, its = socket.socketpair()
    near, far = await asyncio.open_connection(sock=ours), await asyncio.open_connection(sock=its)
    serving = asyncio.ensure_future(serve(far))  # type: ignore[operator]
    near[1].write(msgspec.json.encode(order) + b"\n")
    try:
        yield Control(*near)
    finally:
        near[1].close()
        await asyncio.wait_for(serving, 20)
