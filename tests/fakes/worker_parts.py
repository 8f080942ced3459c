"""What a worker's core runs on besides its engine, in memory: files, networks, what outlives the agent."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec

from common.errors import FailedPrecondition, ResourceExhausted
from common.model.task import Task
from common.wire.messages import Assignments, TaskReport
from common.wire.usage_messages import HostUsage
from worker.assignments import AssignmentSet
from worker.intake.world import NetworkWorld
from worker.interfaces.engine import Container
from worker.interfaces.files import TaskFile
from worker.interfaces.networks import Attachment, NetworkEndpoint
from worker.metrics.host import Busy


async def idle_host(_: Busy | None, __: str) -> tuple[HostUsage, Busy]:
    """Read a host that does nothing; in virtual time no thread may be waited for."""
    return HostUsage(cpu=0.0, memory_total=8 << 30, memory_available=6 << 30), Busy(0, 1)


class FakeFiles:
    def __init__(self) -> None:
        self.written: dict[str, tuple[TaskFile, ...]] = {}
        self.refusal = ""

    def write(self, task_id: str, files: Collection[TaskFile]) -> Mapping[str, str]:
        self.written[task_id] = tuple(files)
        return {file.target: f"/files/{task_id}/{number}" for number, file in enumerate(files)}

    async def replace(
        self, task_id: str, files: Collection[TaskFile], pid: int, tell: Callable[[], Awaitable[None]]
    ) -> None:
        if self.written.get(task_id) == tuple(files):
            return
        if self.refusal:
            raise FailedPrecondition(self.refusal)
        await tell()
        self.written[task_id] = tuple(files)

    def remove(self, task_id: str) -> None:
        self.written.pop(task_id, None)

    def tasks(self) -> Collection[str]:
        return list(self.written)


class FakeNetworks:
    """Gives each task an address in each of its networks; `calls` has what happened to a task.

    Tests set `looks`, `silent`, the ports on which no program listens yet, and `trouble`, why it is not `ready`.
    """

    def __init__(self) -> None:
        self.calls: dict[str, list[str]] = {}
        self.world = NetworkWorld()
        self.reserved: dict[str, dict[str, str]] = {}
        self.full = False
        self.trouble = ""
        self.ready = asyncio.Event()
        self.ready.set()
        self.silent: tuple[int, ...] = ()
        self.looks = asyncio.Event()
        self._last = 1

    async def run(self) -> None:
        await asyncio.Event().wait()

    def update(self, world: NetworkWorld) -> None:
        self.world = world

    async def in_line(self) -> None:
        """It always is."""

    def reserve(self, holder: str, addresses: Mapping[str, str]) -> None:
        self.reserved[holder] = dict(addresses)

    def hindrance(self, task: Task) -> str:
        return self.trouble

    async def attach(self, task: Task) -> Attachment:
        if self.full:
            raise ResourceExhausted("network web has no free address on this host")
        await self.ready.wait()
        self._note(task.id, "attach")
        endpoints = []
        for config in task.spec.networks:
            self._last += 1
            address = f"10.0.0.{self._last}"
            endpoints.append(NetworkEndpoint(network=f"br-{config.target}", network_id=config.target, address=address))
        return Attachment(endpoints=tuple(endpoints))

    async def adopted(self, task: Task, container: Container) -> Attachment:
        self._note(task.id, "adopted")
        return Attachment(
            endpoints=tuple(
                NetworkEndpoint(network=f"br-{config.target}", network_id=config.target)
                for config in task.spec.networks
            )
        )

    async def started(self, task: Task, container: Container) -> None:
        self._note(task.id, "started")

    async def silent_ports(self, task: Task, container: Container) -> tuple[int, ...]:
        return self.silent

    async def drain(self, task: Task) -> None:
        self._note(task.id, "drain")

    async def release(self, task_id: str) -> None:
        self._note(task_id, "release")

    async def remove_all(self) -> None:
        self.calls.clear()

    def lacks(self) -> Collection[str]:
        return ()

    def encryption(self) -> str:
        return "wireguard"

    async def looked(self) -> None:
        self.looks.clear()
        await self.looks.wait()

    def ipv6(self) -> bool:
        return True

    def ipv6_addresses(self) -> Collection[str]:
        return ()

    def _note(self, task_id: str, what: str) -> None:
        self.calls.setdefault(task_id, []).append(what)


class FakeMemory:
    """A `worker.agent.Memory`: give it to the next agent to restart the first."""

    def __init__(self) -> None:
        self.set = AssignmentSet()
        self.states: dict[str, TaskReport] = {}

    async def load(self) -> AssignmentSet:
        tasks = {
            task_id: msgspec.structs.replace(task, status=self.states[task_id].status)
            if task_id in self.states
            else task
            for task_id, task in self.set.tasks.items()
        }
        return _as_stored(self.set, tasks)

    async def save(self, message: Assignments) -> None:
        new = (AssignmentSet() if message.complete else self.set).apply(message)
        assert new is not None, "the agent saves only what it has applied"
        self.set = new

    async def save_states(self, reports: Collection[TaskReport]) -> None:
        self.states |= {report.task_id: report for report in reports}


def _as_stored(found: AssignmentSet, tasks: Mapping[str, Task]) -> AssignmentSet:
    """Return what a worker's database gives back: no secrets, and no number of the set."""
    return AssignmentSet(
        node_number=found.node_number,
        address_pools=found.address_pools,
        data_path_port=found.data_path_port,
        tasks=tasks,
        configs=found.configs,
        networks=found.networks,
        attachments=found.attachments,
        endpoints=found.endpoints,
        peers=found.peers,
    )


class FakeKeeper:
    """Keeps anonymous volumes where `keeps`; `asked` has whose, and of which containers."""

    def __init__(self) -> None:
        self.keeps = False
        self.asked: list[tuple[str, str]] = []

    async def keep(self, owner: str, container: Container) -> bool:
        self.asked.append((owner, container.id))
        return self.keeps

    async def run(self) -> None:
        """There is nothing to remove."""
