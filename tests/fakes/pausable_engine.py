"""An engine that does no more than list, pause and unpause containers, on a socket, for programs of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web


class PausableEngine:
    """Containers by id: whether each is paused. `calls` has what was asked; `refuses` whose pausing fails."""

    def __init__(self, path: Path, volume: str = "data") -> None:
        self.host = f"unix://{path}"
        self.paused: dict[str, bool] = {}
        self.calls: list[str] = []
        self.refuses: set[str] = set()
        self.sticks = 0
        self.changed = asyncio.Event()
        self._path = path
        self._volume = volume

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[PausableEngine]:
        app = web.Application()
        app.router.add_get("/containers/json", self._list)
        app.router.add_post("/containers/{id}/{do}", self._change)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(self._path)).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def until(self, *, paused: bool) -> None:
        """Wait until all containers are paused, or none is."""
        while not all(each is paused for each in self.paused.values()):
            self.changed.clear()
            await self.changed.wait()

    async def _list(self, request: web.Request) -> web.Response:
        assert json.loads(request.query["filters"]) == {"volume": [self._volume], "status": ["running"]}
        mounts: dict[str, list[Any]] = {"reader": [{"Name": self._volume, "RW": False}]}
        usual = [{"Name": self._volume, "RW": True}]
        running = [name for name, paused in self.paused.items() if not paused]
        return web.json_response([{"Id": name, "Mounts": mounts.get(name, usual)} for name in running])

    async def _change(self, request: web.Request) -> web.Response:
        name, do = request.match_info["id"], request.match_info["do"]
        self.calls.append(f"{do} {name}")
        if do == "pause" and name in self.refuses:
            return web.json_response({"message": "no freezer here"}, status=500)
        if do == "unpause" and self.sticks:
            self.sticks -= 1
            return web.json_response({"message": "not now"}, status=500)
        self.paused[name] = do == "pause"
        self.changed.set()
        return web.Response(status=204)
