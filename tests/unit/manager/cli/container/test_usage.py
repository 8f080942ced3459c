"""`container stats` at a manager that plays one: samples that come one by one, containers that come and go."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from manager.cli.container import usage as container_usage
from manager.cli.container.usage import _Usage
from manager.cli.failures import CommandFailed
from tests.fakes.manager_socket import client_of


def sample(name: str, processes: int) -> bytes:
    usage = {"cpu_usage": {"total_usage": 0}}
    return json.dumps(
        {"id": name * 64, "name": f"/{name}", "cpu_stats": usage, "pids_stats": {"current": processes}}
    ).encode()


class Manager:
    """A manager whose containers are `running`; each gives a sample, and another when it is told to `go_on`."""

    def __init__(self) -> None:
        self.running = ["a"]
        self.go_on = {name: asyncio.Event() for name in "ab"}
        self.happened = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/containers/json":
            return web.json_response([{"Id": name} for name in self.running])
        name = request.path.split("/")[2] if request.path.endswith("/stats") else ""
        if name not in ("", "a", "b"):
            return web.json_response({"message": f"No such container: {name}"}, status=404)
        response = web.StreamResponse()
        await response.prepare(request)
        if not name:  # /events
            await self.happened.wait()
            await response.write(b"{}\n")
            return response
        for number in (1, 2):
            await response.write(sample(name, number) + b"\n")
            await self.go_on[name].wait()
        return response


@asynccontextmanager
async def usage(tmp_path: Path) -> AsyncIterator[tuple[Manager, _Usage]]:
    manager = Manager()
    async with client_of(manager.handle, tmp_path) as client:
        yield manager, _Usage(client, no_trunc=False)


async def until(seen: _Usage, **processes: str) -> None:
    async with asyncio.timeout(10):
        while {name: row["PIDs"] for name, row in seen.rows.items()} != processes:
            await asyncio.sleep(0.005)


async def test_named_containers_are_followed_to_their_end(tmp_path: Path) -> None:
    async with usage(tmp_path) as (manager, seen):
        following = asyncio.create_task(seen.follow_named(["a"]))
        await until(seen, a="1")
        manager.go_on["a"].set()
        await following
        assert seen.rows["a"]["PIDs"] == "--"


async def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with usage(tmp_path) as (manager, seen):
        manager.go_on["a"].set()
        with pytest.raises(CommandFailed, match="No such container: none"):
            await seen.follow_named(["a", "none"])


async def test_all_are_those_that_run_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_usage, "_SHOW_SECONDS", 0)
    async with usage(tmp_path) as (manager, seen), asyncio.TaskGroup() as group:
        following = group.create_task(seen.follow_all(group, everything=False))
        await until(seen, a="1")
        manager.running = ["b"]
        manager.go_on["a"].set()
        manager.happened.set()
        await until(seen, b="1")
        manager.go_on["b"].set()
        following.cancel()
