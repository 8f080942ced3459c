"""A lab: some hosts with engines and an outside client on one switch."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.claim import Claim
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.images import image_archive
from tests.lab.process import all_at_once
from tests.lab.switch import Switch


class Lab:
    """`hosts` machines with an engine each (h1, h2, …) and, outside of them, a client without one.

    name: for people, in messages only.
    engine: whether the engines are started and given the lab's images (busybox:lab, web:lab).
    engine_options: further arguments of every dockerd.
    host_type: Host, SystemdHost or BareMachine.

    Everything made is gone when the block is left, however it is left.
    """

    def __init__(
        self,
        name: str = "lab",
        hosts: int = 3,
        client: bool = True,
        *,
        engine: bool = True,
        engine_options: Sequence[str] = (),
        host_type: type[Host] = Host,
    ) -> None:
        if not 1 <= hosts <= 180:
            raise LabError(f"lab {name}: {hosts} hosts; 1 to 180 fit its subnet")
        self.name = name
        self.hosts: list[Host] = []
        self._count = hosts
        self._with_client = client
        self._with_engine = engine
        self._engine_options = tuple(engine_options)
        self._host_type = host_type
        self._claim: Claim | None = None
        self._client: Host | None = None
        self._switch: Switch | None = None

    @property
    def client(self) -> Host:
        if self._client is None:
            raise LabError(f"lab {self.name} has no client: make it with client=True")
        return self._client

    @property
    def workdir(self) -> Path:
        """The lab's folder, with the same path on every host and outside; removed at the end."""
        if self._claim is None:
            raise LabError(f"lab {self.name} is not up: use `async with`")
        return self._claim.folder

    @property
    def subnet(self) -> str:
        """The segment that all hosts are on, in CIDR notation."""
        return f"{self._prefix}.0/24"

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await asyncio.shield(self._remove())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self._remove())

    async def _build(self) -> None:
        self._claim = await asyncio.to_thread(Claim.take)
        self._switch = await Switch.make(f"{self._prefix}.1")
        self.hosts = [self._host(self._host_type, f"h{n}", 10 + n) for n in range(1, self._count + 1)]
        self._client = self._host(Host, "client", 200) if self._with_client else None
        everyone = [*self.hosts, *filter(None, [self._client])]
        (self.workdir / "hosts").write_text("".join(_host_lines(everyone)))
        await all_at_once(host.boot() for host in everyone)
        if self._with_engine:
            await all_at_once(host.engine.start() for host in self.hosts)
            await self._load_images()

    async def _load_images(self) -> None:
        archive = await asyncio.to_thread(image_archive)
        await all_at_once(host.engine.load(archive) for host in self.hosts)

    async def _remove(self) -> None:
        """Take down all that was built so far; the claim goes last, so that the name is free when all is gone."""
        async with AsyncExitStack() as stack:
            if self._claim is not None:
                stack.push_async_callback(asyncio.to_thread, self._claim.release)
            if self._switch is not None:
                stack.push_async_callback(self._switch.remove)
            for host in (*self.hosts, *filter(None, [self._client])):
                stack.push_async_callback(host.power_off)
        self.hosts, self._client, self._switch, self._claim = [], None, None, None

    def _host(self, kind: type[Host], name: str, number: int) -> Host:
        assert self._claim is not None
        assert self._switch is not None
        cgroup = f"{self._claim.name}-{name}"
        folder = self._claim.folder / name
        return kind(name, f"{self._prefix}.{number}", folder, self._switch, cgroup, self._engine_options)

    @property
    def _prefix(self) -> str:
        assert self._claim is not None
        return f"10.78.{self._claim.index}"


def _host_lines(hosts: Sequence[Host]) -> list[str]:
    return ["127.0.0.1 localhost\n", *(f"{host.ip} {host.name}\n" for host in hosts)]


@asynccontextmanager
async def plain_engine(*, engine_options: Sequence[str] = ()) -> AsyncIterator[Host]:
    """One Docker engine and nothing else, for tests and benchmarks that need just an engine."""
    async with Lab("plain", hosts=1, client=False, engine_options=engine_options) as lab:
        yield lab.hosts[0]
