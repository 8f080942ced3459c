"""A simulated host: its engine's containers, and the agent that runs what it is assigned, after the wire contract.

What the host is made to suffer: power cuts (containers die), network cuts (they run on), lost connections, slow pulls,
images that cannot be had, containers that fail. While nobody has a hand in it, it is a perfect host.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from common.clock import SECOND, LoopClock
from common.errors import SwarmError, Unavailable
from common.model import Task, TaskState, TaskStatus
from common.model.node import NodeDescription, NodeResources
from common.model.service import GenericResource
from common.tls import ROLE_WORKER, Identity
from common.wire.channel import PeerInfo, open_raw
from common.wire.handshake import MAX_CLOCK_SKEW
from common.wire.membership_messages import Goodbye, GoodbyeAck, Unfit
from common.wire.memory import MemoryChannel
from common.wire.messages import (
    PROTOCOL_VERSION,
    Assignments,
    Heartbeat,
    Hello,
    OpenStream,
    StatusAck,
    StatusReport,
    StreamHello,
    TaskReport,
    Welcome,
)
from common.wire.usage_messages import Measure, TaskUsage, Usage
from common.wire.volume_copy import CONTROL, ReportVolumes, VolumeReport
from tests.sim.volumes.copies import SimTransfers
from tests.sim.volumes.disks import Disk, Ledger

MEMORY = 1000
CORES = 8
BAD_IMAGE = "bad"
# Images that begin so have a program that ends by itself.
ONCE = "once"
# How long an agent that is stopped waits for the manager to hear of it.
_GOODBYE = 4.0


@dataclass
class Habits:
    """How badly hosts behave, and what is used. Rates are per task; `pull` is the longest pull in seconds.

    `refusing` is the part of new secrets and configs that containers cannot have. `use` says how many cores a task
    uses, and its metric's value likewise; None when it cannot be measured.
    """

    rejected: float = 0.0
    failing: float = 0.0
    refusing: float = 0.0
    lifetime: float = 10.0
    pull: float = 0.5
    use: Callable[[Task], float | None] = lambda _task: 0.0


class Host:
    """One host. `dial` opens a connection to the manager, or raises `Unavailable`."""

    def __init__(
        self,
        node_id: str,
        seed: int,
        dial: Callable[[Host], MemoryChannel],
        habits: Habits,
        things: tuple[GenericResource, ...] = (),
        ledger: Ledger | None = None,
    ) -> None:
        self.node_id = node_id
        self.identity = Identity(node_id, ROLE_WORKER, "cluster", serial=node_id)
        self.peer = PeerInfo(identity=self.identity, remote_address="192.0.2.1")
        self.habits = habits
        self.cut = False
        self.dead = False
        self.powered = False
        self.asleep = False
        self.containers: dict[str, Task] = {}
        self._resources = NodeResources(nano_cpus=CORES * SECOND, memory_bytes=MEMORY, generic_resources=things)
        self._rng = random.Random(f"{seed}/{node_id}")
        self.disk = Disk(node_id, random.Random(f"{seed}/{node_id}/disk"), ledger or Ledger())
        self.copies = SimTransfers(self.disk, random.Random(f"{seed}/{node_id}/copies"))
        self._streams: set[MemoryChannel] = set()
        self._volumes_wanted = False
        self._volumes_said: VolumeReport | None = None
        self._dial = dial
        self._channel: MemoryChannel | None = None
        self._measured = Measure()
        self._ordered = asyncio.Event()
        self._parted = asyncio.Event()
        self._tasks: dict[str, Task] = {}
        self._seen: dict[str, TaskStatus] = {}
        self._unsaid: set[str] = set()
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._news = asyncio.Event()
        self._agent: asyncio.Task[None] | None = None

    # --- what is done to it ---

    def power_on(self) -> None:
        """Boot: containers do not come back by themselves, and the agent reports those that died."""
        self.powered, self.asleep = True, False
        for task_id, task in self._tasks.items():
            if not self._state(task_id).terminal:
                if self._state(task_id) >= TaskState.STARTING:
                    self._say(task_id, TaskState.FAILED, "the host was restarted")
                else:
                    self._work(task)
        self.start_agent()

    async def power_off(self) -> None:
        """Lose power: containers and agent end at once; what the agent had written down stays."""
        self.powered = False
        self.containers.clear()
        ending = [*self._workers.values(), *([self._agent] if self._agent else [])]
        self._workers.clear()
        self.lose_connection()
        for task in ending:
            task.cancel()
        for result in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def lose_engine(self) -> None:
        """Be without an engine until the agent is started: it ends its session and says why, and what runs runs on."""
        self.asleep = True
        self.lose_connection()
        await self._end_agent()
        with contextlib.suppress(SwarmError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                channel = self._dial(self)
                await channel.send(Unfit(reason="its engine hangs"), 3)
                await channel.receive()

    async def stop_agent(self, *, with_host: bool = False) -> None:
        """End the agent on purpose: it says goodbye, and what runs here runs on."""
        channel = self._channel
        self.asleep = True
        self._parted.clear()
        if channel is not None:
            with contextlib.suppress(SwarmError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await channel.send(Goodbye(host=with_host), 3)
                    await self._parted.wait()
        await self._end_agent()

    async def _end_agent(self) -> None:
        if self._agent is not None:
            self._agent.cancel()
            await asyncio.gather(self._agent, return_exceptions=True)

    def start_agent(self) -> None:
        self.asleep = False
        self._agent = asyncio.create_task(self._run_agent(), name=f"agent-{self.node_id}")

    def lose_connection(self) -> None:
        for channel in (self._channel, *self._streams):
            if channel is not None:
                channel.drop()

    def cut_off(self, cut: bool) -> None:
        self.cut = cut
        if cut:
            self.lose_connection()

    # --- the agent ---

    async def _run_agent(self) -> None:
        """Keep a session with the manager, whatever happens to it."""
        while True:
            with contextlib.suppress(SwarmError):
                self._channel = self._dial(self)
                await self._session(self._channel)
            await asyncio.sleep(self._rng.uniform(0.2, 1.0))

    async def _session(self, channel: MemoryChannel) -> None:
        description = NodeDescription(hostname=self.node_id, resources=self._resources, volumes=True, snapshots=True)
        await channel.send(Hello(protocol=PROTOCOL_VERSION, description=description))
        welcome = (await channel.receive()).message
        if not isinstance(welcome, Welcome):
            raise Unavailable(str(welcome))
        self._unsaid.update(self._seen)
        self._news.set()
        async with asyncio.TaskGroup() as group:
            self._measured = Measure()
            self._volumes_wanted = False
            sender = group.create_task(self._speak(channel, welcome.heartbeat))
            meter = group.create_task(self._measure(channel))
            streams: set[asyncio.Task[None]] = set()
            try:
                await self._listen(channel, lambda opened: streams.add(group.create_task(self._stream(opened))))
            except SwarmError:
                for each in (sender, meter, *streams):
                    each.cancel()
            finally:
                await channel.close()

    async def _speak(self, channel: MemoryChannel, heartbeat: float) -> None:
        """Send heartbeats, and what the manager has not confirmed to have heard."""
        with contextlib.suppress(SwarmError):
            while True:
                due = asyncio.get_running_loop().call_later(heartbeat, self._news.set)
                try:
                    await self._news.wait()
                finally:
                    due.cancel()
                self._news.clear()
                if self._unsaid:
                    news, self._unsaid = sorted(self._unsaid), set()
                    reports = [TaskReport(task_id=i, status=self._seen[i]) for i in news if i in self._seen]
                    await channel.send(StatusReport(tasks=tuple(reports)), 1)
                report = self.disk.report()
                if self._volumes_wanted and report != self._volumes_said:
                    self._volumes_said = report
                    await channel.send(report)
                await channel.send(Heartbeat(), 2)

    async def _measure(self, channel: MemoryChannel) -> None:
        """Say what the containers use that are to be measured: an even share of the load each."""
        with contextlib.suppress(SwarmError):
            while True:
                while not self._measured.gauges:
                    self._ordered.clear()
                    await self._ordered.wait()
                await asyncio.sleep(min(gauge.interval for gauge in self._measured.gauges))
                wanted = {gauge.service_id for gauge in self._measured.gauges}
                running = [task for task in self.containers.values() if task.service_id in wanted]
                if running:
                    used = ((task.id, self.habits.use(task)) for task in running)
                    usages = (TaskUsage(task_id=task_id, cpu=value, metric=value) for task_id, value in used)
                    await channel.send(Usage(tasks=tuple(usages)))

    async def _stream(self, opened: OpenStream) -> None:
        """Serve one stream of a volume's copy, as the worker's dialler does."""
        with contextlib.suppress(SwarmError):
            channel = self._dial(self)
            self._streams.add(channel)
            try:
                await channel.send(StreamHello(stream_id=opened.stream_id, half_close=True))
                ends = open_raw(channel)
                await (self.copies.control(ends) if opened.target == CONTROL else self.copies.data(ends))
            finally:
                self._streams.discard(channel)

    async def _listen(self, channel: MemoryChannel, begin: Callable[[OpenStream], None]) -> None:
        held = 0
        while True:
            message = (await channel.receive()).message
            if isinstance(message, Assignments):
                assert message.complete or message.applies_to == held, "an assignment set was lost"
                held = message.results_in
                self._take(message)
            elif isinstance(message, Measure):
                self._measured = message
                self._ordered.set()
            elif isinstance(message, ReportVolumes):
                self._volumes_wanted, self._volumes_said = True, None
                self._news.set()
            elif isinstance(message, OpenStream):
                begin(message)
            elif isinstance(message, GoodbyeAck):
                self._parted.set()
            elif not isinstance(message, StatusAck) and type(message).__name__ == "Refused":
                raise Unavailable(str(message))

    def _take(self, assigned: Assignments) -> None:
        """Hold what is assigned; what is not any more is a stray and goes."""
        gone = set(assigned.removed_tasks)
        if assigned.complete:
            gone |= self._tasks.keys() - {task.id for task in assigned.tasks}
        for task_id in sorted(gone):
            self._forget(task_id)
        for task in assigned.tasks:
            assert task.node_id == self.node_id, f"{task.id} is not a task of {self.node_id}"
            self._tasks[task.id] = task
            if task.id in self._workers:
                self._changed[task.id].set()
                self._renew(task)
            elif not max(self._state(task.id), task.status.state).terminal:
                self._work(task)

    def _renew(self, task: Task) -> None:
        """Give a container the secrets and configs that its task has now."""
        held = self.containers.get(task.id)
        if held is not None and task.spec_version not in (held.spec_version, self._seen[task.id].refused):
            assert task.renewal is not None, f"{task.id} was made from another specification than it is told to be of"
            if self._rng.random() < self.habits.refusing:
                self._say(task.id, self._state(task.id), "the files cannot be changed", refused=task.spec_version)
                return
            self.containers[task.id] = task
            self._say(task.id, self._state(task.id))

    def _forget(self, task_id: str) -> None:
        worker = self._workers.pop(task_id, None)
        if worker is not None:
            worker.cancel()
        for held in (self._tasks, self._seen, self.containers, self._changed):
            held.pop(task_id, None)
        self._unsaid.discard(task_id)
        self.disk.remove_snapshots(task_id)

    # --- its tasks ---

    def _work(self, task: Task) -> None:
        self._changed[task.id] = asyncio.Event()
        worker = asyncio.create_task(self._carry_out(task.id), name=f"{self.node_id}-{task.id}")
        self._workers[task.id] = worker

    async def _carry_out(self, task_id: str) -> None:
        """Take one task from where it is to its end."""
        rng = random.Random(f"{self._rng.random()}")
        rejected, failing = rng.random() < self.habits.rejected, rng.random() < self.habits.failing
        bad = self._image(task_id) == BAD_IMAGE
        try:
            self._say(task_id, TaskState.PREPARING)
            if await self._stopped(task_id, rng.uniform(0.0, self.habits.pull)):
                return self._say(task_id, TaskState.SHUTDOWN)
            if rejected or (bad and rng.random() < 0.5):
                return self._say(task_id, TaskState.REJECTED, "No such image")
            if why := self.disk.prepare(self._tasks[task_id]):
                return self._say(task_id, TaskState.REJECTED, why)
            self._say(task_id, TaskState.READY)
            while self._tasks[task_id].desired_state < TaskState.RUNNING:
                await self._told(task_id)
            if self._tasks[task_id].desired_state > TaskState.RUNNING:
                return self._say(task_id, TaskState.SHUTDOWN)
            if why := self.disk.prepare(self._tasks[task_id]):
                return self._say(task_id, TaskState.FAILED, why)
            await self._run_container(task_id, self._lifetime(task_id, rng, fails=failing or bad), fails=failing or bad)
        finally:
            if self._workers.get(task_id) is asyncio.current_task():
                del self._workers[task_id]

    def _lifetime(self, task_id: str, rng: random.Random, *, fails: bool) -> float | None:
        """Choose how long a container runs by itself: for ever, unless it fails or does a job."""
        by_itself = self._tasks[task_id].job_iteration is not None or self._image(task_id).startswith(ONCE)
        ends = fails or by_itself
        return rng.uniform(0.0, self.habits.lifetime) if ends else None

    async def _run_container(self, task_id: str, lifetime: float | None, *, fails: bool) -> None:
        self._say(task_id, TaskState.STARTING)
        self.containers[task_id] = self._tasks[task_id]
        if lifetime is None or lifetime > 1.0:
            self._say(task_id, TaskState.RUNNING)
        with self.disk.writing(self._tasks[task_id]):
            stopped = await self._stopped(task_id, lifetime)
            if stopped:
                await asyncio.sleep(self._rng.uniform(0.0, 2.0))
        del self.containers[task_id]
        if stopped or not fails:
            self._say(task_id, TaskState.SHUTDOWN if stopped else TaskState.COMPLETE)
        else:
            self._say(task_id, TaskState.FAILED, "exit 1")

    async def _stopped(self, task_id: str, seconds: float | None) -> bool:
        """Wait, and return whether the task was told to stop meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks[task_id].desired_state <= TaskState.RUNNING:
                    await self._told(task_id)
        return self._tasks[task_id].desired_state > TaskState.RUNNING

    async def _told(self, task_id: str) -> None:
        await self._changed[task_id].wait()
        self._changed[task_id].clear()

    def _image(self, task_id: str) -> str:
        container = self._tasks[task_id].spec.container_spec
        return container.image if container else ""

    def _state(self, task_id: str) -> TaskState:
        return self._seen[task_id].state if task_id in self._seen else TaskState.ASSIGNED

    def _say(self, task_id: str, state: TaskState, err: str = "", *, refused: int = 0) -> None:
        if state < self._state(task_id):
            return  # it goes over steps again that it had taken before the host was restarted
        # Its own clock is an hour off: nothing may depend on it.
        now = LoopClock().now() + MAX_CLOCK_SKEW
        held = self.containers.get(task_id)
        renewed = held.spec_version if held is not None and held.renewal is not None else 0
        refused = refused or (self._seen[task_id].refused if task_id in self._seen else 0)
        self._seen[task_id] = TaskStatus(
            state=state, timestamp=now, message=state.name.lower(), err=err, renewed=renewed, refused=refused
        )
        if state.terminal:
            self.disk.remove_snapshots(task_id)
        self._unsaid.add(task_id)
        self._news.set()
