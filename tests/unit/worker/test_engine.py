"""The engine's driver, against an engine that misbehaves; what real ones do is the e2e tests' subject."""

import asyncio
import json
import random
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web

from worker.engine import DockerEngine
from worker.ports import ContainerEvent, EngineConnected, EngineLost

START = json.dumps({"timeNano": 1, "Action": "start", "Actor": {"ID": "c1"}}) + "\n"


@pytest.mark.parametrize(("status", "body"), [(503, "starting"), (200, "{cut off\n")])
async def test_events_go_on_after_an_answer_that_makes_no_sense(tmp_path: Path, status: int, body: str) -> None:
    answers = [(status, body), (200, START)]

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.43", "MinAPIVersion": "1.12"})

    async def events(_: web.Request) -> web.Response:
        status, text = answers.pop(0)
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/version", version)
    app.router.add_get("/v1.43/events", events)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()
    engine = DockerEngine(f"unix://{tmp_path / 'docker.sock'}", random.Random(1))
    heard = []
    try:
        async with asyncio.timeout(10), aclosing(engine.events({})) as stream:
            async for event in stream:
                heard.append(event)
                if isinstance(event, ContainerEvent):
                    break
    finally:
        await engine.close()
        await runner.cleanup()
    assert heard[-3:-1] == [EngineLost(), EngineConnected()]
