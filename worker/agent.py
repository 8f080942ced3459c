"""The worker's core: what a session brings becomes tasks and networks of this host, and their states go back.

It holds the pieces together and nothing of the operating system: it runs as well on fakes, in virtual time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec import structs

from common.clock import Clock
from common.errors import SwarmError
from common.model.node import NodeDescription
from common.model.task import Task, TaskState, TaskStatus
from common.wire.allowances import LONGEST_ERROR
from common.wire.image_messages import BringImage, Brought
from common.wire.membership_messages import Applied
from common.wire.messages import (
    PROTOCOL_VERSION,
    Assignments,
    AttachmentReport,
    Hello,
    NodeReport,
    RegistryAuth,
    TaskReport,
)
from common.wire.usage_messages import HostUsage, Measure, MeasureHost, Usage
from common.wire.volume_copy import VolumeReport
from worker.assignments import AssignmentSet
from worker.engine.call_limiter import EngineCallLimiter, calls_at_once
from worker.host.description import HostDescription, Identity
from worker.images.ensure import Fetcher, Images
from worker.intake import Accepted, Intake
from worker.intake.entries import Refusals
from worker.interfaces.engine import Engine
from worker.interfaces.files import TaskFiles
from worker.interfaces.networks import Networks
from worker.interfaces.volumes import NO_VOLUMES, VolumeParts
from worker.link.reporter import Reporter
from worker.metrics.host import HostMeter, read_host
from worker.metrics.host import Read as ReadHost
from worker.metrics.meter import Meter
from worker.metrics.page import read_tasks, write_page
from worker.tasks.plan.files import Materials
from worker.tasks.plan.machine import Contact
from worker.tasks.runner_context import RunnerContext
from worker.tasks.supervisor import Supervisor
from worker.unmanaged import ContainerAttachments
from worker.volumes.inventory import Inventory

# Without a manager for this long, the worker keeps its tasks alive by itself.
ALONE_AFTER_SECONDS = 15.0

_log = logging.getLogger(__name__)


class Memory(Protocol):
    """What outlives the agent: the last assignment set, without secrets, and the state of each task."""

    async def load(self) -> AssignmentSet: ...

    async def save(self, message: Assignments) -> None: ...

    async def save_states(self, reports: Collection[TaskReport]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """What an agent works with on its host, by interface.

    fetcher: brings images from other workers; None: none come from there.
    read_host: reads what the host uses.
    """

    engine: Engine
    networks: Networks
    files: TaskFiles
    memory: Memory
    fetcher: Fetcher | None = None
    read_host: ReadHost = read_host
    volumes: VolumeParts = NO_VOLUMES


class Agent:
    """One worker. `run` until cancelled; the session calls the rest. `news` is set when a task or the host changes."""

    def __init__(self, identity: Identity, parts: HostParts, clock: Clock, news: asyncio.Event) -> None:
        engine, networks = parts.engine, parts.networks
        self.reporter = Reporter()
        self._identity = identity
        self._networks = networks
        self._memory = parts.memory
        self._news = news
        self._images = Images(engine, clock, parts.fetcher)
        self._fetcher = parts.fetcher
        self._volume_parts = parts.volumes
        self.volumes = self._inventory(engine, parts.volumes)
        self._context = RunnerContext(
            node_id=identity.node_id,
            engine=engine,
            images=self._images,
            networks=networks,
            files=parts.files,
            clock=clock,
            limiter=EngineCallLimiter(calls_at_once(os.cpu_count() or 1)),
            volumes=self.volumes,
            snapshots=parts.volumes.snapshots,
            keeper=parts.volumes.keeper,
        )
        self._refusals = Refusals()
        self._host = HostDescription(
            identity, engine, networks, parts.volumes, self._refusals.lacks, self._host_described
        )
        self.supervisor = Supervisor(self._context, self._report, self._host.note_engine)
        self._unmanaged = ContainerAttachments(engine, networks)
        self._set = AssignmentSet()
        self._intake = Intake(identity.node_id)
        self._rejected: Mapping[str, str] = {}
        self._set_changed = asyncio.Event()
        self._meter = Meter(engine, lambda: self._set.tasks, lambda: self.supervisor.tasks)
        self._host_meter = HostMeter(lambda: self._host.data_root, parts.read_host, clock)
        self._unsaved: dict[str, TaskReport] = {}
        self._to_save = asyncio.Event()
        self._alone: asyncio.TimerHandle | None = None

    def _inventory(self, engine: Engine, parts: VolumeParts) -> Inventory | None:
        """Make the inventory of volumes, where they can be marked."""
        if parts.marks is None:
            return None
        return Inventory(engine, parts.marks, parts.rng, lambda: self._set.tasks, parts.measure)

    @property
    def description(self) -> NodeDescription:
        """What this host says that it is; empty until the engine has answered once."""
        return self._host.description

    async def run(self) -> None:
        """Adopt the containers that run and look after them until cancelled; they run on after that."""
        self._set = await self._memory.load()
        self._context.materials = Materials(configs=self._set.configs)
        accepted = self._take_in(self._set)
        self._unmanaged.apply(accepted.attachments, complete=False)
        self.supervisor.apply(accepted.tasks, complete=False)
        self.lost()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.supervisor.run())
                group.create_task(self._unmanaged.run())
                group.create_task(self._networks.run())
                group.create_task(self._save_states())
                group.create_task(self._host.run())
                if self.volumes is not None:
                    group.create_task(self.volumes.run())
                if self._volume_parts.keeper is not None:
                    group.create_task(self._volume_parts.keeper.run())
                if self._volume_parts.snapshots is not None:
                    group.create_task(self._volume_parts.snapshots.run(lambda: self._set.tasks))
        finally:
            self._cancel_alone()

    # --- what a session calls -----------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until this host can run tasks: its engine answers."""
        await self._host.ready()

    async def unfit(self) -> str:
        """Wait until this host cannot run tasks (any more), and say why: its engine is away, and was for a while."""
        return await self._host.engine_missed()

    def hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL_VERSION,
            description=self._host.announce(),
            advertise_addr=self._identity.advertise_addr,
            image_port=self._identity.image_port,
        )

    def welcomed(self) -> None:
        """Hear that a session has begun."""
        self._set_changed.clear()  # sets are numbered anew in each session

    async def assigned(self, message: Assignments) -> bool:
        new = self._set.apply(message)
        if new is None:
            _log.info("assignments for set %d do not follow on %d", message.applies_to, self._set.number)
            return False
        old, self._set = self._set, new
        self._name_node()
        self._context.materials = Materials(secrets=new.secrets, configs=new.configs)
        if message.complete:
            self._rejected = {}  # a manager that says everything anew is told so, too
        accepted = self._take_in(new)
        self._set_changed.set()
        self._unmanaged.apply(
            accepted.attachments, complete=message.complete
        )  # first, so that no task gets their addresses
        self.supervisor.apply(accepted.tasks, complete=True)
        if new.secrets is not old.secrets or new.configs is not old.configs:
            self.supervisor.wake()
        self._forget(old, new)
        self._cancel_alone()
        self.supervisor.set_contact(Contact.CONNECTED)
        await self._memory.save(message)
        return True

    async def applied(self) -> Applied:
        await self._set_changed.wait()
        self._set_changed.clear()
        number = self._set.number
        await self._networks.in_line()
        return Applied(number=number)

    def authorised(self, message: RegistryAuth) -> None:
        self._images.set_auth(message.service_id, message.auth)

    async def brought(self, message: BringImage) -> Brought:
        """Have an image here that a client wants, fetched from another worker if need be."""
        try:
            return Brought(name=await self._images.ensure(message.image_id, ""))
        except SwarmError as error:
            return Brought(error=error.message[:LONGEST_ERROR])
        except Exception as error:  # noqa: BLE001 - the client waits for as long as it takes: it must hear of a bug, too
            _log.exception("unexpected error with image %s", message.image_id)
            return Brought(error=f"internal error of the worker: {error!r}"[:LONGEST_ERROR])

    async def description_changed(self) -> NodeReport:
        return NodeReport(description=await self._host.changed())

    async def attachments_changed(self) -> AttachmentReport:
        return await self._unmanaged.take()

    def report_volumes(self) -> None:
        if self.volumes is not None:
            self.volumes.asked()

    async def volumes_changed(self) -> VolumeReport:
        if self.volumes is None:
            await asyncio.Event().wait()  # it is never asked for them
        assert self.volumes is not None
        return await self.volumes.changed()

    def measure(self, message: Measure) -> None:
        self._meter.order(message)

    async def measured(self) -> Usage:
        return await self._meter.take()

    def measure_host(self, message: MeasureHost) -> None:
        self._host_meter.order(message)

    async def host_measured(self) -> HostUsage:
        return await self._host_meter.take()

    async def metrics_page(self) -> bytes:
        """Write what this host's tasks use, for Prometheus."""
        tasks, statuses = list(self._set.tasks.values()), dict(self.supervisor.tasks)
        running = await read_tasks(tasks, statuses, self._context.engine.usage)
        received = self._fetcher.received if self._fetcher is not None else 0
        return await asyncio.to_thread(write_page, running, self._identity.node_id, received)

    def lost(self) -> None:
        self._meter.order(Measure())
        self._host_meter.order(MeasureHost())
        if self.volumes is not None:
            self.volumes.lost()
        self.supervisor.set_contact(Contact.LOST)
        self._cancel_alone()
        loop = asyncio.get_running_loop()
        self._alone = loop.call_later(ALONE_AFTER_SECONDS, self.supervisor.set_contact, Contact.ALONE)

    async def removed(self, reason: str) -> None:
        """Stop all tasks: the cluster has removed this node, and has replaced them."""
        _log.error("this node is no longer in the cluster, its tasks are stopped: %s", reason)
        await self.assigned(Assignments(complete=True, results_in=0))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take_in(self, found: AssignmentSet) -> Accepted:
        """Take a set in: pass its networks on, and report what of it cannot be used here."""
        accepted = self._intake.take(found)
        self._networks.update(accepted.world)
        for task_id in accepted.rejected.keys() - self._rejected.keys():
            self._report(task_id, _rejection(accepted.rejected[task_id], self._context.clock.now()))
        self._rejected = accepted.rejected
        if self._refusals.note(accepted.refused):
            self._host.note_lacks()
        return accepted

    def _cancel_alone(self) -> None:
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None

    def _report(self, task_id: str, status: TaskStatus) -> None:
        task = self._set.tasks.get(task_id)
        if task is None or not _leaves_nothing(task, status):
            self._unsaved[task_id] = TaskReport(task_id=task_id, status=status)
            self._to_save.set()
        self._news.set()
        if task is not None:
            self.reporter.update(task_id, status)

    def _forget(self, old: AssignmentSet, new: AssignmentSet) -> None:
        """Drop what only tasks that are gone needed: states to report, credentials of their services."""
        if old.tasks is new.tasks:
            return
        for task_id in old.tasks.keys() - new.tasks.keys():
            self.reporter.forget(task_id)
        self._images.keep_auths(frozenset(task.service_id for task in new.tasks.values()))

    async def _save_states(self) -> None:
        while True:
            await self._to_save.wait()
            self._to_save.clear()
            reports, self._unsaved = self._unsaved, {}
            await self._memory.save_states(tuple(reports.values()))

    def _host_described(self) -> None:
        self._name_node()
        self._news.set()

    def _name_node(self) -> None:
        """Give templates the name that the node has in the cluster, which may not be the host's own."""
        said = self.description
        called = self._set.hostname if said.hostname else ""
        self._context.node = structs.replace(said, hostname=called) if called else said


def _rejection(why: str, now: float) -> TaskStatus:
    return TaskStatus(timestamp=now, state=TaskState.REJECTED, message="preparing", err=why)


def _leaves_nothing(task: Task, status: TaskStatus) -> bool:
    """Whether nothing is left of a task that was removed, so that its state need not be saved.

    An agent that restarts finds nothing of such a task, and reports the same. A task that failed before it was removed
    may still have its container, and must not be reported to have ended in another way.
    """
    return task.desired_state >= TaskState.REMOVE and status.state is TaskState.SHUTDOWN
