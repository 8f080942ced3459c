"""Several real managers in this process, each with a real etcd as its child: on loopback, on ports that were free."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from common.clock import SystemClock
from common.ids import new_id
from manager import app
from manager.bootstrap import create_cluster
from manager.config import DataDir, EtcdConfig, ExternalEtcdConfig, ManagerConfig
from manager.etcd import peer_url
from manager.init_join import NewManager, join_cluster

READY_SECONDS = 40.0
_PAUSE_SECONDS = 0.1


class RealManager:
    """One of them. `ask` asks its API."""

    def __init__(self, folder: Path, address: str, peer_address: str) -> None:
        self.data = DataDir(folder)
        self.address = address
        self.peer_address = peer_address
        self.config = ManagerConfig(
            node_id="",
            advertise_addr=address,
            listen_addr=address,
            hosts=(f"unix://{folder}.sock",),
        )
        self._running: asyncio.Task[bool] | None = None
        self._manager: app.Manager | None = None

    async def start(self) -> None:
        """Run it, and return when it answers."""
        ready = asyncio.Event()
        self.config = self.data.load()
        self._manager = app.Manager(self.data, self.config, ready.set)
        self._running = asyncio.create_task(self._manager.run())
        waiting = asyncio.create_task(ready.wait())
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._running.done():
            self._running.result()

    async def stop(self) -> None:
        if self._manager is not None and self._running is not None:
            self._manager.stop()
            await self._running
            self._manager = None

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connector = aiohttp.UnixConnector(f"{self.data.path}.sock")
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://manager{path}", json=body) as answer,
        ):
            return answer.status, await answer.json(content_type=None)


class RealManagers:
    """The cluster; `all` are its managers, the first has made it. Its store is in their etcds, or in `external`."""

    def __init__(self, folder: Path, count: int, external: ExternalEtcdConfig | None = None) -> None:
        self._external = external
        with contextlib.ExitStack() as held:
            ports = [[free_address(held) for _ in range(2)] for _ in range(count)]
        self.all = [RealManager(folder / f"m{number}", *each) for number, each in enumerate(ports, 1)]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RealManagers]:
        """Make the cluster and run it."""
        clock, rng = SystemClock(), random.SystemRandom()
        first, *others = self.all
        try:
            await self._found(first, rng)
            await first.start()
            for other in others:
                token = (await first.ask("GET", "/swarm"))[1]["JoinTokens"]["Manager"]
                new = NewManager(data=other.data, config=other.config, peer_addr=other.peer_address, clock=clock)
                await join_cluster(new, token, first.address)
                await other.start()
            await self.until(self.all_reachable)
            yield self
        finally:
            await asyncio.gather(*(each.stop() for each in self.all))

    async def _found(self, first: RealManager, rng: random.Random) -> None:
        node_id, cluster_id = new_id(rng), new_id(rng)
        peers = (f"{node_id}={peer_url(first.peer_address)}",)
        etcd = EtcdConfig(peer_addr=first.peer_address, cluster_id=cluster_id, peers=peers)
        if self._external is not None:
            etcd = self._external.config(first.peer_address, cluster_id)
        config = ManagerConfig(
            node_id=node_id,
            advertise_addr=first.address,
            listen_addr=first.address,
            hosts=first.config.hosts,
            etcd=etcd,
        )
        await create_cluster(first.data, config, ["10.0.0.0/8"], SystemClock(), rng)

    async def all_reachable(self) -> bool:
        """Whether every manager says that one leads, and that all answer."""
        for each in self.all:
            status, nodes = await each.ask("GET", "/nodes")
            said = [node["ManagerStatus"] for node in nodes if node.get("ManagerStatus")] if status == 200 else []
            there = [one for one in said if one["Reachability"] == "reachable"]
            if len(there) != len(self.all) or sum(one.get("Leader", False) for one in said) != 1:
                return False
        return True

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = READY_SECONDS) -> None:
        """Ask until something holds; nobody tells."""
        async with asyncio.timeout(seconds):
            while not await holds():
                await asyncio.sleep(_PAUSE_SECONDS)


def free_address(held: contextlib.ExitStack) -> str:
    """Return an address with a port that nobody has, which is held until all are chosen."""
    listening = held.enter_context(socket.socket())
    listening.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{listening.getsockname()[1]}"
