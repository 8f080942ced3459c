"""A volume's driver that does not answer, under a real engine: what its tasks say, and what becomes of the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from common.model.container import ContainerSpec, DriverConfig, Mount, VolumeOptions
from common.model.service import TaskSpec
from common.model.task import Task, TaskState, TaskStatus
from tests.e2e.ci import long
from tests.e2e.engine_worker import NODE, EngineWorker
from tests.lab import plain_engine

S = TaskState
STUCK = 9


class VolumeDriver:
    """A volume plugin of Docker's, on a socket; mounts take until `answers` is set."""

    def __init__(self, folder: Path) -> None:
        self.answers = asyncio.Event()
        self.mounts = 0
        self._folder = folder
        self._volumes: set[str] = set()

    @asynccontextmanager
    async def listening(self, socket: Path) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/{call}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield
        finally:
            self.answers.set()  # else it is waited for, for a minute
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read() or b"{}")
        return web.json_response({"Err": "", **await self._do(request.match_info["call"], asked.get("Name", ""))})

    async def _do(self, call: str, volume: str) -> dict[str, Any]:
        match call:
            case "Plugin.Activate":
                return {"Implements": ["VolumeDriver"]}
            case "VolumeDriver.Create":
                (self._folder / volume).mkdir()
                self._volumes.add(volume)
            case "VolumeDriver.Mount":
                self.mounts += 1
                await self.answers.wait()
                return {"Mountpoint": str(self._folder / volume)}
            case "VolumeDriver.Get" if volume in self._volumes:
                return {"Volume": {"Name": volume, "Mountpoint": str(self._folder / volume)}}
            case "VolumeDriver.Get":
                return {"Err": f"no volume {volume}"}
        return {}


def make(task_id: str, *mounts: Mount) -> Task:
    container = ContainerSpec(image="web:lab", mounts=mounts)
    return Task(
        id=task_id,
        service_id="service1",
        service_name="web",
        slot=1,
        node_id=NODE,
        desired_state=S.RUNNING,
        status=TaskStatus(state=S.ASSIGNED),
        spec=TaskSpec(container_spec=container),
    )


@long
async def test_tasks_with_a_hung_volume_say_so_and_block_no_others() -> None:
    config = DriverConfig(name="slow")
    mount = Mount(source="data", target="/data", volume_options=VolumeOptions(driver_config=config))
    stuck = [make(f"stuck{n}", mount) for n in range(STUCK)]
    async with plain_engine() as host, EngineWorker.on(host) as worker:
        driver, socket = VolumeDriver(host.folder), host.folder / "slow.sock"
        await host.run("sh", "-c", f"mkdir -p /etc/docker/plugins; echo unix://{socket} >/etc/docker/plugins/slow.spec")
        async with driver.listening(socket):
            await worker.assign(*stuck)
            fine = make("fine")
            for task in stuck[:4]:
                await worker.until(task, S.STARTING)
            await worker.assign(*stuck, fine)
            # Whichever of them are the first that the engine was told to start.
            late = await worker.until_one(stuck, lambda status: bool(status.err), seconds=30)
            told = await worker.until_status(late, lambda status: bool(status.err))
            assert (told.state, told.message) == (S.STARTING, "waits for the engine")
            assert told.err.startswith("the engine has been starting the container for 15 s: look at ")
            assert "volume data (driver slow), which it mounts" in told.err
            await worker.until(fine, S.RUNNING)
            assert driver.mounts >= 4

            await worker.assign(late, fine)  # the others are not wanted any more
            driver.answers.set()
            running = await worker.until(late, S.RUNNING)
            assert (running.state, running.err) == (S.RUNNING, "")
            await worker.until_containers(fine.name, late.name)
            await worker.assign()
            await worker.until_containers()
