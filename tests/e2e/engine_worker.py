"""A worker's agent on a lab host with a real engine, and a manager that the test plays."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from common.model.task import Task, TaskState, TaskStatus
from common.wire.messages import Assignments, TaskReport
from tests.e2e.agent_process import LINE_BYTES
from tests.lab import Host, Process

NODE = "node1node1node1node1node1"


class EngineWorker:
    """`start` and `kill` the agent as often as the test likes; what it keeps is in the host's folder."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.process: Process
        self._number = 0
        self._seen: dict[str, TaskStatus] = {}
        self._changed = asyncio.Event()
        self._writer: asyncio.StreamWriter
        self._ready = asyncio.Event()
        self._readers: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def on(cls, host: Host) -> AsyncIterator["EngineWorker"]:
        worker = cls(host)
        socket = str(host.folder / "manager.sock")
        server = await asyncio.start_unix_server(worker._connected, socket, limit=LINE_BYTES)
        try:
            await worker.start()
            yield worker
        finally:
            await worker.kill()
            server.close()
            await server.wait_closed()

    async def start(self) -> None:
        """Start the agent; return when it has found its engine."""
        self._ready.clear()
        folder, socket = self.host.folder, self.host.folder / "manager.sock"
        argv = (sys.executable, "-m", "tests.e2e.agent_process", socket, folder, self.host.docker_host, NODE)
        self.process = await self.host.spawn(*map(str, argv), name="agent")
        try:
            async with asyncio.timeout(20):
                await self._ready.wait()
        except TimeoutError:
            raise AssertionError(f"the agent is not ready\n{self.process.tail()}") from None

    async def kill(self) -> None:
        """Kill the agent with SIGKILL."""
        self.process.kill()
        await self.process.wait()
        if self._readers:
            await asyncio.wait(self._readers)

    async def assign(self, *tasks: Task, **more: Any) -> None:
        """Send a complete set."""
        self._number += 1
        message = Assignments(complete=True, results_in=self._number, tasks=tasks, **more)
        self._writer.write(msgspec.json.encode(message) + b"\n")
        await self._writer.drain()

    async def until(self, task: Task, state: TaskState, seconds: float = 20) -> TaskStatus:
        """Wait until the task was reported in this state or a later one."""
        return await self.until_status(task, lambda status: status.state >= state, seconds)

    async def until_status(self, task: Task, true: Callable[[TaskStatus], bool], seconds: float = 20) -> TaskStatus:
        await self.until_one([task], true, seconds)
        return self._seen[task.id]

    async def until_one(self, tasks: Sequence[Task], true: Callable[[TaskStatus], bool], seconds: float = 20) -> Task:
        """Return the first of the tasks whose status is as wanted."""
        async with asyncio.timeout(seconds):
            while True:
                for task in tasks:
                    if task.id in self._seen and true(self._seen[task.id]):
                        return task
                self._changed.clear()
                await self._changed.wait()

    def state(self, task: Task) -> TaskState:
        return self._seen[task.id].state

    async def until_containers(self, *names: str, seconds: float = 20) -> None:
        """Wait until these are all containers that there are: what is dropped is not reported."""
        async with asyncio.timeout(seconds):
            while (found := await self.containers()) != sorted(names):
                assert self.process.running, self.process.tail()
                del found
                await asyncio.sleep(0.02)

    async def inspect(self, task: Task) -> Any:
        return msgspec.json.decode(await self.host.docker("inspect", task.name))[0]

    async def shell(self, task: Task, script: str) -> str:
        """Run a shell script in the task's container; return what it printed."""
        return await self.host.docker("exec", task.name, "sh", "-c", script)

    async def containers(self) -> list[str]:
        return sorted((await self.host.docker("ps", "-a", "--format", "{{.Names}}")).split())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        reading = asyncio.current_task()
        assert reading is not None
        self._readers.add(reading)
        try:
            while line := await reader.readline():
                if line == b"ready\n":
                    self._ready.set()
                    continue
                report = msgspec.json.decode(line, type=TaskReport)
                self._seen[report.task_id] = report.status
                self._changed.set()
        finally:
            writer.close()
            self._readers.discard(reading)
