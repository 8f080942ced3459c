"""Real members of one etcd on this host: on loopback, without certificates, below a folder."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from manager.store.backends.etcd.process import EtcdMember, EtcdProcess

_READY_SECONDS = 30.0


@contextlib.asynccontextmanager
async def real_members(folder: Path, count: int) -> AsyncIterator[list[EtcdProcess]]:
    """Run so many, and wait until each has found the leader."""
    with contextlib.ExitStack() as held:
        ports = [_free_port(held) for _ in range(count)]
    cluster = {f"m{number}": f"http://127.0.0.1:{port}" for number, port in enumerate(ports)}
    members = [EtcdMember(name, folder / name, url, url, cluster, "test") for name, url in cluster.items()]
    processes = [EtcdProcess(member, random.Random(1)) for member in members]
    async with contextlib.AsyncExitStack() as running:
        for process in processes:
            await running.enter_async_context(process.running())
        await asyncio.gather(*(process.ready(_READY_SECONDS) for process in processes))
        yield processes


def _free_port(held: contextlib.ExitStack) -> int:
    """Return a port that nobody has, which is held until all are chosen."""
    listening = held.enter_context(socket.socket())
    listening.bind(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    return port
