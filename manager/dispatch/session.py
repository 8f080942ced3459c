"""One worker's session: its reports are written to the store, its assignments are sent to it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from common.errors import ProtocolError, SwarmError, leaves
from common.model.node import NodeDescription
from common.tls import Identity
from common.wire.channel import Channel
from common.wire.codec import Frame
from common.wire.image_messages import (
    Brought,
    FetchImage,
    ImageHeld,
    ImageSeen,
    Spared,
    SpareImages,
)
from common.wire.membership_messages import AllApplied, Applied, AwaitApplied, Goodbye, GoodbyeAck
from common.wire.messages import (
    AnyMessage,
    AttachmentReport,
    AttachmentState,
    CertificateStored,
    Heartbeat,
    HeartbeatAck,
    Leave,
    LeaveAck,
    NodeReport,
    RenewReply,
    RenewRequest,
    Resync,
    StatusAck,
    StatusReport,
    TaskReport,
    Welcome,
)
from common.wire.usage_messages import HostUsage, Usage
from common.wire.volume_copy import VolumeReport
from manager.dispatch.attachments import AttachmentReports
from manager.dispatch.attachments import changes_endpoints as attachments_change_endpoints
from manager.dispatch.barrier import Barrier
from manager.dispatch.batch import WriteBatch
from manager.dispatch.directory import Directory
from manager.dispatch.images import ImageBroker, ImageQuestions
from manager.dispatch.managers import KnownManagers
from manager.dispatch.nodes import Away, ClockChecked, Described, Down, Left, NodeWrite, Renewed
from manager.dispatch.outbox import Outbox
from manager.dispatch.quota import Quota, Violation
from manager.dispatch.reports import NewestWrites, NodeReports, SlicedWrites
from manager.dispatch.reports import changes_endpoints as reports_change_endpoints
from manager.dispatch.validator import Validator
from manager.dispatch.volumes import VolumeReports
from manager.domain.clock_offset import ClockWatch, clock_words
from manager.domain.volume_inventory import Inventory
from manager.metrics.contacts import Deliveries
from manager.metrics.soft_state import SoftState
from manager.store.store import Store

MAX_OPEN_FETCHES = 8
MAX_OPEN_BARRIERS = 100
# Seconds for which a slowed worker is not read at least: waking up for each message costs more than the message.
LEAST_PAUSE = 0.1
# Heartbeats that follow each other within this part of a node's grace, half their period, have one answer.
ACKNOWLEDGED_EVERY = 1 / 6
DESCRIBE_SECONDS = 1.0
VOLUMES_SECONDS = 0.2
# An agent that was stopped on purpose has this long to come back: a restart or an upgrade takes a few seconds.
AWAY_GRACE = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What all sessions of a manager share."""

    store: Store
    validator: Validator
    directory: Directory
    reports: WriteBatch[NodeReports]
    nodes: WriteBatch[NodeWrite]
    attachments: WriteBatch[AttachmentReports]
    volumes: WriteBatch[Inventory]
    renew: Callable[[RenewRequest, Identity], Awaitable[RenewReply]]
    images: ImageBroker
    soft: SoftState
    barrier: Barrier
    managers: KnownManagers


class Session:
    """The messages of one node's connection, after its Welcome. `grace`: seconds of silence after which it is lost.

    `protocol` is the version that both speak. It is `over` when the node is no longer waited for, and `away` when its
    agent has said that it will come back.
    """

    def __init__(
        self,
        session_id: str,
        identity: Identity,
        channel: Channel,
        parts: SessionParts,
        quota: Quota,
        *,
        grace: float,
        protocol: int,
    ) -> None:
        self.session_id = session_id
        self.identity = identity
        self.channel = channel
        self.grace = grace
        self.over = False
        self.away = False
        self._reads = True
        self._parts = parts
        self._quota = quota
        self._counted = channel.bytes_received
        self._acked_at = -math.inf
        self._outbox = Outbox(
            identity.node_id,
            channel,
            parts.store,
            parts.directory,
            parts.soft.usages,
            parts.managers,
            Deliveries(parts.soft.contacts.delay),
            protocol=protocol,
        )
        self._questions = ImageQuestions(identity.node_id, channel)
        self._volumes = VolumeReports(identity.node_id)
        self._states = SlicedWrites(self._write_states)
        self._attachments = SlicedWrites(self._write_attachments)
        self._descriptions = NewestWrites(self._write_description, DESCRIBE_SECONDS)
        self._inventories = NewestWrites(parts.volumes.submit, VOLUMES_SECONDS)
        self._clock_watch: ClockWatch | None = None
        self._leaving = False
        self._greeted = asyncio.Event()
        self._open_fetches = asyncio.Semaphore(MAX_OPEN_FETCHES)
        self._open_barriers = asyncio.Semaphore(MAX_OPEN_BARRIERS)

    @property
    def node_id(self) -> str:
        return self.identity.node_id

    @property
    def patience(self) -> float:
        """How many seconds of silence are allowed; more once an agent that will come back has sent everything.

        Its session then goes on until the store has its last reports.
        """
        return AWAY_GRACE if self.away and not self._reads else self.grace

    def set_reported_hostname(self, hostname: str) -> None:
        """Set the host name that the worker reports; the node's name in the cluster may differ."""
        self._outbox.set_reported_hostname(hostname)

    async def greet(self, welcome: Welcome, request_id: int) -> None:
        """Send the Welcome, which must be first: `send` waits for it.

        Raises:
            ChannelClosed: the connection is gone.

        """
        await self.channel.send(welcome, request_id)
        self._greeted.set()

    def unblock(self) -> None:
        """Let nobody wait any longer to say something, or for an answer: the connection ends."""
        self._questions.close()
        self._greeted.set()

    async def run(self) -> None:
        """Serve the session until the connection ends, the node leaves, or `end` is called.

        Raises:
            ChannelClosed: the connection ended.
            Violation: the node broke the protocol, or said too much.
            SwarmError: why this side ended it, as given to `end`, or what the store refused.

        """
        self._outbox.start_over()
        try:
            async with asyncio.TaskGroup() as group:
                endless = [
                    group.create_task(each)
                    for each in (
                        self._outbox.run(),
                        self._descriptions.run(),
                        self._outbox.have_renewed(),
                    )
                ]
                for writes in (self._states, self._attachments, self._inventories):
                    group.create_task(writes.run())
                group.create_task(self._read(group, endless))
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            self._outbox.close()
            self._parts.images.left(self.node_id)

    def end(self, error: SwarmError) -> None:
        """End the session from this side: `run` raises `error`."""
        self._outbox.end(error)

    @property
    def knows_managers(self) -> bool:
        """Whether the worker is of a release that knows of several managers."""
        return self._outbox.knows_managers

    def expect_renewal(self) -> None:
        """Look whether the worker's certificate is of an earlier step of the authority, and have it renewed then."""
        self._outbox.expect_renewal()

    def send_managers(self) -> None:
        """Send the managers' new addresses to the worker."""
        self._outbox.wake()

    def measure(self) -> None:
        """Send the worker what to measure, if that has changed."""
        self._outbox.wake()

    @property
    def behind(self) -> bool:
        """Whether the worker says that it has not applied everything yet."""
        return self._outbox.behind

    def caught_up(self) -> asyncio.Future[None]:
        """Return a future that is done when the worker has applied all that is decided now, or the session ends."""
        return self._outbox.caught_up()

    async def send(self, message: AnyMessage) -> None:
        """Send a message to the worker, once it has its Welcome.

        Raises:
            ChannelClosed: the connection is gone.

        """
        await self._greeted.wait()
        await self.channel.send(message)

    async def seek(self, image_id: str) -> ImageSeen:
        """Ask the worker whether its engine has an image; errors as `ImageQuestions.seek`."""
        await self._greeted.wait()
        return await self._questions.seek(image_id)

    async def bring(self, image_id: str) -> str:
        """Have the worker fetch an image; errors as `ImageQuestions.bring`."""
        await self._greeted.wait()
        return await self._questions.bring(image_id)

    async def _read(self, group: asyncio.TaskGroup, endless: Collection[asyncio.Task[None]]) -> None:
        try:
            while not (self.over or self.away):
                frame = await self.channel.receive()
                self._outbox.check()  # the session was ended: what it still says does not count
                pause = self._count(frame)
                validated = self._validated(frame)
                if validated is not None:
                    await self._answer(validated, group)
                if pause:
                    await asyncio.sleep(max(pause, LEAST_PAUSE))
        except ProtocolError as error:
            raise Violation(error.message) from error
        finally:
            self._reads = False
            self._states.close()
            self._attachments.close()
            self._inventories.close()
            for task in endless:
                task.cancel()

    def _count(self, frame: Frame) -> float:
        """Count a message; return for how many seconds nothing is read. Meanwhile the node counts as alive."""
        size, self._counted = self.channel.bytes_received - self._counted, self.channel.bytes_received
        was_slowed = self._quota.slowed
        pause = self._quota.spend(frame.message, size, asyncio.get_running_loop().time())
        if pause and not was_slowed:
            _log.warning("node %s sends more than a node may: it is slowed down", self.node_id)
        return pause

    def _validated(self, frame: Frame) -> Frame | None:
        if isinstance(frame.message, NodeReport):
            self.set_reported_hostname(frame.message.description.hostname)
        message = self._parts.validator.validate(frame.message, self.node_id)
        return Frame(frame.id, message) if message is not None else None

    async def _answer(self, frame: Frame, group: asyncio.TaskGroup) -> None:
        match frame.message:
            case Heartbeat():
                await self._acknowledge(frame.id)
            case StatusReport() | NodeReport() | AttachmentReport() | Usage() | HostUsage() | VolumeReport():
                await self._take_report(frame)
            case RenewRequest() | CertificateStored():
                await self._renew(frame)
            case Resync():
                _log.info("node %s asks for a complete set of assignments", self.node_id)
                self._outbox.start_over()
            case Applied(number=number):
                self._outbox.note_applied(number)
                self._parts.barrier.back(self.node_id)
            case AwaitApplied():
                await self._open_barriers.acquire()
                group.create_task(self._await_applied(frame.id))
            case FetchImage() | ImageHeld() | ImageSeen() | Brought() | SpareImages():
                await self._answer_image(frame, group)
            case Leave():
                await self._parts.nodes.submit(Left(self.node_id))
                self.over = True
                await self.channel.send(LeaveAck(), frame.id)
            case Goodbye() as goodbye:
                self._start_goodbye(goodbye, frame.id, group)
            case message:
                raise ProtocolError(f"a worker does not say {type(message).__name__} in a session")

    async def _renew(self, frame: Frame) -> None:
        match frame.message:
            case RenewRequest() as request:
                await self.channel.send(await self._parts.renew(request, self.identity), frame.id)
            case CertificateStored(serial=serial):
                await self._parts.nodes.submit(Renewed(self.node_id, serial))

    def _start_goodbye(self, goodbye: Goodbye, request_id: int, group: asyncio.TaskGroup) -> None:
        """Handle the first goodbye of a session only: each would need a task of its own."""
        if not self._leaving:
            self._leaving = True
            group.create_task(self._say_goodbye(goodbye, request_id))

    async def _say_goodbye(self, goodbye: Goodbye, request_id: int) -> None:
        """Record that the agent stops, while the session goes on. If its host stops, too, the peers must know first."""
        self.away = not goodbye.host
        if self.away:
            await self._parts.nodes.submit(Away(self.node_id, AWAY_GRACE))
        else:
            await self._parts.nodes.submit(Down(self.node_id, "its host is shutting down"))
            await self._parts.barrier.passed()
            self.over = True
        await self.channel.send(GoodbyeAck(), request_id)

    async def _acknowledge(self, request_id: int) -> None:
        """Answer a heartbeat; not every one if they come faster than they should."""
        now = asyncio.get_running_loop().time()
        if now - self._acked_at >= self.grace * ACKNOWLEDGED_EVERY:
            self._acked_at = now
            await self.channel.send(HeartbeatAck(), request_id)

    async def _take_report(self, frame: Frame) -> None:
        match frame.message:
            case StatusReport(tasks=tasks):
                await self._states.put(tasks, partial(self.channel.send, StatusAck(), frame.id))
            case NodeReport(description=description):
                self._descriptions.put(description)
            case AttachmentReport(attachments=states):
                await self._attachments.put(states, _do_nothing)
            case Usage(tasks=usages):
                self._parts.soft.measurements.take(self.node_id, usages)
                self._parts.soft.usages.record_tasks(self.node_id, usages, self._parts.store.clock.now())
            case HostUsage() as usage:
                self._parts.soft.usages.record_host(self.node_id, usage, self._parts.store.clock.now())
                await self._check_clock(usage.clock)
            case VolumeReport() as report:
                inventory = self._volumes.take(report)
                if inventory is not None:
                    self._inventories.put(inventory)

    async def _check_clock(self, shown: float) -> None:
        """Compare what the worker's clock shows (Unix seconds; 0: it was not said) with this manager's."""
        if not shown:
            return
        offset = shown - self._parts.store.clock.now()
        self._parts.soft.contacts.note_offset(self.node_id, offset)
        if self._clock_watch is None:
            node = self._parts.store.view.nodes.get(self.node_id)
            stored = node.clock_offset if node is not None else None
            self._clock_watch = ClockWatch(stored.seconds if stored is not None else 0)
        seconds = self._clock_watch.sample(offset, asyncio.get_running_loop().time())
        if seconds is not None:
            says = clock_words(seconds) if seconds else "agrees with the manager's again"
            _log.log(logging.WARNING if seconds else logging.INFO, "the clock of node %s %s", self.node_id, says)
            await self._parts.nodes.submit(ClockChecked(self.node_id, seconds))

    async def _write_states(self, reports: Sequence[TaskReport]) -> None:
        # The store must have a slot's new volumes before it hears that the task runs or has ended.
        await self._inventories.written()
        await self._take_turn(changes_endpoints=reports_change_endpoints(self._parts.store.view, reports))
        await self._parts.reports.submit(NodeReports(self.node_id, tuple(reports)))

    async def _write_attachments(self, states: Sequence[AttachmentState]) -> None:
        await self._take_turn(changes_endpoints=attachments_change_endpoints(self._parts.store.view, states))
        await self._parts.attachments.submit(AttachmentReports(self.node_id, tuple(states)))

    async def _take_turn(self, *, changes_endpoints: bool) -> None:
        """Wait before a write that changes endpoints, if there were too many of these."""
        if changes_endpoints:
            await asyncio.sleep(self._quota.delay_endpoint_change(asyncio.get_running_loop().time()))

    async def _write_description(self, description: NodeDescription) -> None:
        await self._parts.nodes.submit(Described(self.node_id, description))

    async def _answer_image(self, frame: Frame, group: asyncio.TaskGroup) -> None:
        match frame.message:
            case FetchImage() as request:
                await self._open_fetches.acquire()
                group.create_task(self._name_sources(request, frame.id))
            case SpareImages(image_ids=image_ids):
                await self.channel.send(Spared(image_ids=self._parts.images.spared(image_ids)), frame.id)
            case ImageHeld(image_id=image_id):
                self._parts.images.held(self.node_id, image_id)
            case ImageSeen() | Brought() as answer:
                self._questions.answered(frame.id, answer)

    async def _name_sources(self, request: FetchImage, request_id: int) -> None:
        try:
            await self.channel.send(await self._parts.images.sources(self.node_id, request), request_id)
        finally:
            self._open_fetches.release()

    async def _await_applied(self, request_id: int) -> None:
        """Answer when all have applied; meanwhile the worker's heartbeats are read."""
        try:
            await self._parts.barrier.passed()
            await self.channel.send(AllApplied(), request_id)
        finally:
            self._open_barriers.release()


async def _do_nothing() -> None:
    """Do nothing: an attachment report is not acknowledged."""


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the most telling error: a bug before an expected one."""
    found = list(leaves(errors))
    return next((error for error in found if not isinstance(error, SwarmError)), found[0])
