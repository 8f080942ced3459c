"""A manager that starts with locked keys says so and nothing else, and serves once it is unlocked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from common.clock import SystemClock
from manager import app
from manager.ca.keyring import new_unlock_key
from manager.ca.migration import load_keyring
from manager.daemon.keys import ManagerKeys
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store
from tests.fakes.lone_manager import keep_to_itself, new_cluster

KEY = new_unlock_key()
WORDS = (
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it. '
    "On the manager's host 'swarm-manager unlock' does that."
)
LOCKED = (503, WORDS)


@pytest.fixture
async def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[app.Manager]:
    """Run a manager of a cluster whose keys are locked."""
    data, config = await new_cluster(tmp_path)
    async with Store(SqliteBackend(data.store, load_keyring(data).seal()), SystemClock()) as store:
        spec = msgspec.structs.replace(store.view.cluster, unlock_key=KEY)
        await store.update(lambda tx: tx.put(spec))
        keys = ManagerKeys(data)
        keys.load()
        keys.relock(store.view.cluster)
    keep_to_itself(monkeypatch)
    manager = app.Manager(data, config, lambda: None)
    running = asyncio.create_task(manager.run())
    while not (tmp_path / "s.sock").exists() and not running.done():
        await asyncio.sleep(0.01)
    yield manager
    manager.stop()
    await running


@asynccontextmanager
async def session(folder: Path) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(f"{folder}/s.sock")) as http:

        async def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
            async with http.request(method, f"http://docker/v1.45{path}", json=body) as reply:
                text = await reply.text()
                content = json.loads(text) if reply.content_type == "application/json" and text else text
                return reply.status, content.get("message", content) if isinstance(content, dict) else content

        yield ask


async def test_it_is_locked_until_it_is_unlocked(manager: app.Manager, tmp_path: Path) -> None:
    async with session(tmp_path) as ask:
        status, info = await ask("GET", "/info")
        assert (status, info["Swarm"]["LocalNodeState"], "Cluster" in info["Swarm"]) == (200, "locked", False)
        assert await ask("GET", "/_ping") == (200, "OK")
        for method, path in (("GET", "/swarm"), ("GET", "/secrets"), ("GET", "/containers/json"), ("POST", "/build")):
            assert await ask(method, path) == LOCKED
        assert await ask("POST", "/swarm/unlock", {"UnlockKey": ""}) == (400, "invalid key string")
        wrong = await ask("POST", "/swarm/unlock", {"UnlockKey": new_unlock_key()})
        assert wrong == (400, "swarm could not be unlocked: invalid key provided")
        assert await ask("GET", "/nodes") == LOCKED
        assert (await ask("POST", "/swarm/unlock", {"UnlockKey": KEY}))[0] == 200
        status, nodes = await ask("GET", "/nodes")
        assert (status, len(nodes)) == (200, 1)
        assert (await ask("GET", "/info"))[1]["Swarm"]["LocalNodeState"] == "active"
        assert await ask("POST", "/swarm/unlock", {"UnlockKey": KEY}) == (409, "swarm is not locked")


async def test_it_stops_while_it_is_locked(manager: app.Manager, tmp_path: Path) -> None:
    manager.stop()
    while (tmp_path / "s.sock").exists():
        await asyncio.sleep(0.01)
