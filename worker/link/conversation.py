"""One session's messages: those of the manager are handed to the parts that they are for, and the parts' are sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from common.aio.rate_limit import Rate, TokenBucket
from common.errors import SwarmError, Unavailable, leaves
from common.wire.allowances import BYTES, MESSAGES, size_of, weight
from common.wire.channel import Channel
from common.wire.handshake import error_of_refusal
from common.wire.image_messages import BringImage, ImageGrant, ImageSources, SeekImage, Spared
from common.wire.manager_messages import BecomeManager, Managers
from common.wire.membership_messages import AllApplied, Goodbye, GoodbyeAck
from common.wire.messages import (
    OLDEST_PROTOCOL,
    AnyMessage,
    Assignments,
    CertificateStored,
    Heartbeat,
    HeartbeatAck,
    Leave,
    LeaveAck,
    OpenStream,
    Refused,
    RegistryAuth,
    RenewCertificate,
    RenewReply,
    Resync,
    StatusAck,
    StatusReport,
)
from common.wire.usage_messages import Measure, MeasureHost
from common.wire.volume_copy import ReportVolumes
from worker.host.promotion import become_manager
from worker.images.serve import ImageServer
from worker.intake.identifiers import quote_foreign
from worker.link.interfaces import Agent, Dialler, Renewal
from worker.link.race import Welcomed
from worker.link.reporter import Reporter
from worker.link.requests import Requests

MISSED_HEARTBEATS = 3
# The first new state is sent at once; what follows within this time is one message.
REPORT_SECONDS = 0.010
MAX_STREAMS = 256
# Bytes of a frame beside its message, at most.
_FRAME_BYTES = 16

_log = logging.getLogger(__name__)


class PacedSender:
    """Sends at most half of what a manager lets a worker say, so that it is never slowed or ended.

    It outlives sessions, as a manager's budget for the node does. Made in the event loop.
    """

    def __init__(self) -> None:
        now = asyncio.get_running_loop().time()
        self._bytes = TokenBucket(_half(BYTES), now)
        self._messages = TokenBucket(_half(MESSAGES), now)

    async def send(self, channel: Channel, message: AnyMessage, number: int = 0) -> None:
        """Wait until the message may be sent, and send it; errors as `Channel.send`."""
        now = asyncio.get_running_loop().time()
        waits = (
            self._bytes.spend(size_of(message) + _FRAME_BYTES, now),
            self._messages.spend(weight(message), now),
        )
        if any(waits):
            await asyncio.sleep(max(waits))
        await channel.send(message, number)


def _half(rate: Rate) -> Rate:
    return Rate(rate.burst / 2, rate.per_second / 2)


@dataclass(frozen=True, slots=True)
class ConversationParts:
    """What all sessions of a worker share, made in its event loop."""

    dialler: Dialler
    agent: Agent
    reporter: Reporter
    renewal: Renewal
    requests: Requests
    image_server: ImageServer
    sender: PacedSender = field(default_factory=PacedSender)


class Conversation:
    """The messages of one session, after its Welcome. `learn` hears where managers are."""

    def __init__(self, parts: ConversationParts, welcomed: Welcomed, learn: Callable[[tuple[str, ...]], None]) -> None:
        self.address = welcomed.address
        self._parts = parts
        self._channel = welcomed.channel
        self._welcome = welcomed.welcome
        self._learn = learn
        self._parted = asyncio.Event()
        self._goodbye_heard = False
        self._streams = 0

    async def run(self) -> None:
        """Carry messages both ways until the session ends; why it did is logged."""
        self._parts.agent.welcomed()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._heartbeats(self._welcome.heartbeat))
                for reports in (
                    self._reports,
                    self._descriptions,
                    self._attachments,
                    self._ask,
                    self._applied,
                    self._usages,
                    self._host_usages,
                    self._volumes,
                    self._renewals,
                    self._fail_when_unfit,
                ):
                    group.create_task(reports())
                await self._read(group)
        except* SwarmError as errors:
            _log.warning("session with %s ended: %s", self.address, next(leaves(errors)))
        _raise_if_cancelled()

    async def close(self) -> None:
        """Tell all who wait for an answer that this session will not bring it, and close the connection."""
        self._parted.set()
        self._parts.reporter.lost()
        self._parts.requests.lost()
        self._parts.agent.lost()
        await self._channel.close()

    async def part(self, goodbye: Goodbye | Leave) -> bool:
        """Say that the agent stops, or that the node leaves; return whether the answer came before the session ended.

        Raises:
            ChannelClosed: the connection is gone.

        """
        await self._channel.send(goodbye, 1)
        await self._parted.wait()
        return self._goodbye_heard

    async def _send(self, message: AnyMessage, number: int = 0) -> None:
        await self._parts.sender.send(self._channel, message, number)

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while True:
            number, message = await self._channel.receive()
            await self._handle(group, number, message)

    async def _handle(self, group: asyncio.TaskGroup, number: int, message: AnyMessage) -> None:
        match message:
            case HeartbeatAck() | GoodbyeAck() | LeaveAck():
                self._confirmed(message)
            case Assignments():
                if not await self._parts.agent.assigned(message):
                    await self._send(Resync())
            case StatusAck():
                self._parts.reporter.confirmed(number)
            case (
                RegistryAuth()
                | Measure()
                | MeasureHost()
                | RenewCertificate()
                | RenewReply()
                | Managers()
                | ReportVolumes()
            ):
                await self._tell(message)
            case OpenStream() | BecomeManager():
                self._begin(group, message)
            case ImageSources() | Spared() | AllApplied():
                self._parts.requests.answered(number, message)
            case ImageGrant() | SeekImage() | BringImage():
                await self._handle_image(group, number, message)
            case Refused():
                raise error_of_refusal(message)
            case _:
                _log.warning("the manager sent an unexpected %s", type(message).__name__)

    def _confirmed(self, message: HeartbeatAck | GoodbyeAck | LeaveAck) -> None:
        """Note that the manager heard something; that of a heartbeat the channel notes."""
        if isinstance(message, GoodbyeAck | LeaveAck):
            self._goodbye_heard = True
            self._parted.set()

    async def _handle_image(
        self,
        group: asyncio.TaskGroup,
        number: int,
        message: ImageGrant | SeekImage | BringImage,
    ) -> None:
        match message:
            case ImageGrant():
                await self._parts.image_server.grant(message)
            case SeekImage():
                _beside(group, self._seek, number, message)
            case BringImage():
                _beside(group, self._bring, number, message)

    async def _tell(
        self,
        message: RegistryAuth | Measure | MeasureHost | RenewCertificate | RenewReply | Managers | ReportVolumes,
    ) -> None:
        match message:
            case Managers():
                self._learn(message.managers)
            case ReportVolumes():
                self._parts.agent.report_volumes()
            case Measure():
                self._parts.agent.measure(message)
            case MeasureHost():
                self._parts.agent.measure_host(message)
            case RegistryAuth():
                self._parts.agent.authorised(message)
            case RenewCertificate():
                self._parts.renewal.renew_now()
            case RenewReply():
                serial = self._parts.renewal.renewed(message)
                if serial and self._welcome.protocol > OLDEST_PROTOCOL:
                    await self._send(CertificateStored(serial=serial))

    def _begin(self, group: asyncio.TaskGroup, message: OpenStream | BecomeManager) -> None:
        if isinstance(message, OpenStream):
            self._open(group, message)
        else:
            _beside(group, become_manager, message, self.address)

    def _open(self, group: asyncio.TaskGroup, message: OpenStream) -> None:
        if self._streams >= MAX_STREAMS:
            why = f"it has {MAX_STREAMS} streams open already, which is the most"
            _log.warning("refused a stream to %s: %s", quote_foreign(message.target), why)
            _beside(group, self._parts.dialler.refuse, self.address, message, why)
            return
        self._streams += 1
        _beside(group, self._parts.dialler.stream, self.address, message).add_done_callback(self._closed)

    def _closed(self, _: asyncio.Task[None]) -> None:
        self._streams -= 1

    async def _fail_when_unfit(self) -> None:
        raise Unavailable(await self._parts.agent.unfit())

    async def _heartbeats(self, period: float) -> None:
        """Say that this host lives; give up on a manager that says nothing for several periods."""
        loop = asyncio.get_running_loop()
        while True:
            await self._channel.send(Heartbeat())
            await asyncio.sleep(period)
            silence = loop.time() - self._channel.last_received
            if silence > MISSED_HEARTBEATS * period + 1.0:
                raise Unavailable(f"{self._channel.peer} has been silent for {silence:.1f} s")

    async def _reports(self) -> None:
        while True:
            number, batch = await self._parts.reporter.take()
            await self._send(StatusReport(tasks=batch), number)
            await asyncio.sleep(REPORT_SECONDS)

    async def _descriptions(self) -> None:
        while True:
            await self._send(await self._parts.agent.description_changed())

    async def _attachments(self) -> None:
        while True:
            await self._send(await self._parts.agent.attachments_changed())
            await asyncio.sleep(REPORT_SECONDS)

    async def _usages(self) -> None:
        while True:
            await self._send(await self._parts.agent.measured())

    async def _host_usages(self) -> None:
        while True:
            await self._send(await self._parts.agent.host_measured())

    async def _volumes(self) -> None:
        while True:
            await self._send(await self._parts.agent.volumes_changed())

    async def _ask(self) -> None:
        while True:
            number, request = await self._parts.requests.take()
            await self._send(request, number)

    async def _applied(self) -> None:
        while True:
            await self._send(await self._parts.agent.applied())

    async def _seek(self, number: int, message: SeekImage) -> None:
        await self._send(await self._parts.image_server.seen(message.reference), number)

    async def _bring(self, number: int, message: BringImage) -> None:
        await self._send(await self._parts.agent.brought(message), number)

    async def _renewals(self) -> None:
        while True:
            await self._send(await self._parts.renewal.due(), 1)


def _beside(group: asyncio.TaskGroup, work: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
    """Do what the manager asks for in a task of its own: a bug ends that, and not the worker."""

    async def contained() -> None:
        try:
            await work(*arguments)
        except SwarmError:
            raise
        except Exception:  # noqa: BLE001 - the tasks of this host must not pay for it; it is logged whole
            _log.exception("unexpected error in what the manager asked for: it gets no answer")

    return group.create_task(contained())


def _raise_if_cancelled() -> None:
    """Raise a cancellation again that a task group whose children fail meanwhile forgets (Python before 3.13)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
