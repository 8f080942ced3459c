"""One agent on fakes, in virtual time, with a manager that the test plays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common.clock import LoopClock
from common.model.container import ContainerSpec
from common.model.service import RestartPolicy, TaskSpec
from common.model.task import Task, TaskState, TaskStatus
from common.wire.messages import Assignments
from tests.fakes.engine import FakeEngine, Program
from tests.fakes.virtual_loop import run_virtual
from tests.fakes.worker_parts import FakeFiles, FakeKeeper, FakeMemory, FakeNetworks, idle_host
from worker.agent import Agent, HostParts
from worker.host.description import Identity
from worker.interfaces.volumes import VolumeParts

NODE = "node1"
S = TaskState


def make_task(name: str = "t1", image: str = "web", desired: TaskState = TaskState.RUNNING, **more: Any) -> Task:
    container = msgspec.structs.replace(more.pop("container", ContainerSpec()), image=image)
    spec = TaskSpec(
        container_spec=container,
        restart_policy=more.pop("restart_policy", None) or RestartPolicy(),
        networks=more.pop("networks", ()),
    )
    return Task(
        id=name,
        spec=spec,
        service_id="s1",
        service_name="web",
        slot=1,
        node_id=NODE,
        desired_state=desired,
        status=TaskStatus(state=TaskState.ASSIGNED),
        **more,
    )


@dataclass
class World:
    """`seen` has every state that a task was reported in, in order."""

    engine: FakeEngine = field(default_factory=lambda: FakeEngine({"web": Program()}))
    files: FakeFiles = field(default_factory=FakeFiles)
    networks: FakeNetworks = field(default_factory=FakeNetworks)
    memory: FakeMemory = field(default_factory=FakeMemory)
    clock: LoopClock = field(default_factory=LoopClock)
    seen: dict[str, list[TaskStatus]] = field(default_factory=dict)
    keeper: FakeKeeper = field(default_factory=FakeKeeper)
    number: int = 0
    agent: Agent = None  # type: ignore[assignment]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        """Run an agent in this block; a second block is the agent after a restart."""
        parts = HostParts(
            engine=self.engine,
            networks=self.networks,
            files=self.files,
            memory=self.memory,
            read_host=idle_host,
            volumes=VolumeParts(keeper=self.keeper),
        )
        self.agent = Agent(Identity(node_id=NODE, version="test"), parts, self.clock, asyncio.Event())
        reading = asyncio.create_task(self._read(self.agent))
        running = asyncio.create_task(self.agent.run())
        await asyncio.sleep(0.1)
        try:
            yield self.agent
        finally:
            for job in (running, reading):
                job.cancel()
            await asyncio.wait({running, reading})
            if not running.cancelled():
                running.result()

    async def _read(self, agent: Agent) -> None:
        while True:
            number, reports = await agent.reporter.take()
            for report in reports:
                self.seen.setdefault(report.task_id, []).append(report.status)
            agent.reporter.confirmed(number)

    async def assign(self, *tasks: Task, **more: Any) -> None:
        """Send a complete set."""
        self.number += 1
        await self.agent.assigned(Assignments(complete=True, results_in=self.number, tasks=tasks, **more))

    async def change(self, *tasks: Task, **more: Any) -> None:
        """Send an incremental set."""
        self.number += 1
        message = Assignments(complete=False, applies_to=self.number - 1, results_in=self.number, tasks=tasks, **more)
        assert await self.agent.assigned(message)

    async def start_and_shut_down(self) -> None:
        """Assign task t1, and a second later tell it to shut down; return after another second."""
        task = make_task()
        await self.assign(task)
        await asyncio.sleep(1)
        await self.change(want(task, TaskState.SHUTDOWN))
        await asyncio.sleep(1)

    def state(self, task_id: str = "t1") -> TaskState:
        return self.last(task_id).state

    def last(self, task_id: str = "t1") -> TaskStatus:
        return self.seen[task_id][-1]


def want(task: Task, desired: TaskState) -> Task:
    return msgspec.structs.replace(task, desired_state=desired)


def virtual(test):
    """Run an async test in virtual time."""

    def wrapped():
        run_virtual(test())

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


def world(programs=None, **engine):
    return World(engine=FakeEngine({"web": Program()} if programs is None else programs, **engine))


def holding(w, name: str) -> asyncio.Event:
    """Have the engine's calls of this name hang until the event that is returned is set."""
    call, free = getattr(w.engine, name), asyncio.Event()

    async def hanging(*arguments: Any, **more: Any) -> Any:
        await free.wait()
        return await call(*arguments, **more)

    setattr(w.engine, name, hanging)
    return free
