"""The worker's end of the protocol: dial any known manager, keep the session alive, carry messages both ways."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from common.aio.steady import Backoff
from common.clock import Clock
from common.errors import SwarmError, Unavailable, leaves
from common.wire.channel import Channel
from common.wire.handshake import LedElsewhere, error_of_refusal
from common.wire.image_messages import BringImage, Brought, ImageGrant, ImageSources, SeekImage, Spared
from common.wire.manager_messages import BecomeManager, Managers, WireEpoch
from common.wire.membership_messages import AllApplied, Applied, Goodbye, GoodbyeAck
from common.wire.messages import (
    OLDEST_PROTOCOL,
    AnyMessage,
    Assignments,
    AttachmentReport,
    CertificateStored,
    Heartbeat,
    HeartbeatAck,
    Hello,
    NodeReport,
    OpenStream,
    Refused,
    RegistryAuth,
    RenewCertificate,
    RenewReply,
    RenewRequest,
    Resync,
    StatusAck,
    StatusReport,
    Welcome,
)
from common.wire.usage_messages import HostUsage, Measure, MeasureHost, Usage
from common.wire.volume_messages import ReportVolumes, VolumeReport
from worker.host.promotion import become_manager
from worker.images.serve import ImageServer
from worker.intake.words import quote_foreign
from worker.link.pace import Pace
from worker.link.race import NoWelcome, first_welcome
from worker.link.reporter import Reporter
from worker.link.requests import Requests

RETRY_FIRST = 0.25
RETRY_LIMIT = 5.0
# A removed node asks seldom whether it may come back.
REMOVED_RETRY_SECONDS = 60.0
MISSED_HEARTBEATS = 3
# The first new state is sent at once; what follows within this time is one message.
REPORT_SECONDS = 0.010
MAX_STREAMS = 256
# How long a manager has to hear a goodbye. It answers that of a host once the others know, which takes 2 s at most.
GOODBYE_SECONDS = 4.0

_log = logging.getLogger(__name__)


class Session:
    """Keeps the worker connected; `run` until cancelled. `news` is set when a session begins or ends.

    `epoch` is the latest leadership that has welcomed this worker, `told` where managers are by the last that said so.
    """

    def __init__(
        self,
        dialler: Dialler,
        agent: Agent,
        reporter: Reporter,
        renewal: Renewal,
        questions: Requests,
        image_server: ImageServer,
        *,
        managers: Callable[[], Sequence[str]],
        clock: Clock,
        rng: random.Random,
        news: asyncio.Event,
        epoch: WireEpoch = (0, 0),
    ) -> None:
        self.epoch = epoch
        self.told: tuple[str, ...] = ()
        self._said: dict[str, str] = {}
        self._dialler = dialler
        self._agent = agent
        self._reporter = reporter
        self._renewal = renewal
        self._questions = questions
        self._image_server = image_server
        self._managers = managers
        self._clock = clock
        self._rng = rng
        self._news = news
        self._pace = Pace()
        self._backoff = Backoff(RETRY_FIRST, RETRY_LIMIT, rng)
        self._channel: Channel | None = None
        self._address = ""
        self._protocol = OLDEST_PROTOCOL
        self.since = 0.0
        self.refused = ""
        self._parting = asyncio.Event()
        self._parted = asyncio.Event()
        self._goodbye_heard = False
        self._streams = 0

    async def run(self) -> None:
        """Connect, serve, and connect again, for ever."""
        while True:
            await self._until_fit()
            if self._parting.is_set():
                await asyncio.Event().wait()  # the end of this process
            await self._attempt()

    async def _until_fit(self) -> None:
        """Wait until this host can run tasks; if it cannot, let one manager know why."""
        while (why := await self._unfit()) and not await self._tell_unfit(why):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.next()):
                    await self._agent.ready()
        await self._agent.ready()

    async def _unfit(self) -> str:
        """Wait until it is known whether this host can run tasks; return why not, nothing if it can."""
        ready, unfit = asyncio.ensure_future(self._agent.ready()), asyncio.ensure_future(self._agent.unfit())
        try:
            await asyncio.wait({ready, unfit}, return_when=asyncio.FIRST_COMPLETED)
            return "" if ready.done() else unfit.result()
        finally:
            ready.cancel()
            unfit.cancel()

    async def _tell_unfit(self, why: str) -> bool:
        """Return whether a manager has heard it."""
        for address in self._shuffled():
            try:
                await self._dialler.unfit(address, why)
            except SwarmError as error:
                _log.warning("%s cannot be told that this host runs no tasks: %s", address, error.message)
            else:
                self._note_refusal(why)
                return True
        return False

    async def part(self, goodbye: Goodbye) -> bool:
        """Say goodbye to the manager of the session that is on; return whether it has heard. No other session follows.

        Whoever has not answered within `GOODBYE_SECONDS` is not waited for.
        """
        channel = self._channel
        self._parting.set()
        self._parted.clear()
        if channel is None:
            return False
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await channel.send(goodbye, 1)
                await self._parted.wait()
        except SwarmError as error:
            _log.warning("%s cannot be told that this agent stops: %s", self._address, error.message)
        except TimeoutError:
            _log.warning("%s was told that this agent stops, but did not answer", self._address)
        return self._goodbye_heard

    @property
    def address(self) -> str:
        """The manager of the session that is on, empty when none is; `since` says from when on that is so.

        `refused` says why there is none, as far as that is known.
        """
        return self._address if self._channel is not None else ""

    def _shuffled(self) -> list[str]:
        """Order the managers: the one that served last first, the rest at random, so that workers spread."""
        addresses = list(self._managers())
        self._rng.shuffle(addresses)
        return sorted(addresses, key=lambda address: address != self._address)

    async def _attempt(self) -> None:
        """Have a session, from its beginning to its end and a pause; or a pause."""
        hello = self._agent.hello()
        try:
            found = await first_welcome(
                self._shuffled(), lambda address: self._dialler.session(address, hello), self.epoch
            )
        except NoWelcome as none:
            await self._pause_unwelcome(none)
            return
        self._said = {}
        self._address = found.address
        self.epoch = found.welcome.epoch
        self._learn(found.welcome.managers)
        _log.info("session with %s", found.address)
        await self._keep(found.channel, found.welcome)
        await asyncio.sleep(self._backoff.next())

    async def _pause_unwelcome(self, none: NoWelcome) -> None:
        for address, error in none.errors.items():
            if self._said.get(address) != error.message:
                _log.warning("no session with %s: %s", address, error.message)
            if isinstance(error, LedElsewhere):
                self._learn(error.told.managers)
        self._said = {address: error.message for address, error in none.errors.items()}
        removal = none.removal
        self._note_refusal(removal.message if removal is not None else next(iter(none.errors.values())).message)
        if removal is not None:
            await self._agent.removed(removal.message)
            await asyncio.sleep(REMOVED_RETRY_SECONDS)
        elif none.between_leaders:  # there is one within seconds
            await asyncio.sleep(self._rng.uniform(RETRY_FIRST, 2 * RETRY_FIRST))
        else:
            await asyncio.sleep(self._backoff.next())

    async def _keep(self, channel: Channel, welcome: Welcome) -> None:
        try:
            await self._serve(channel, welcome)
        finally:
            self._turn(None)
            self._parted.set()  # who waits for an answer waits in vain
            self._reporter.lost()
            self._questions.lost()
            self._agent.lost()
            await channel.close()

    async def _serve(self, channel: Channel, welcome: Welcome) -> None:
        self._turn(channel)
        self._protocol = welcome.protocol
        self._agent.welcomed()
        self._backoff.reset()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._heartbeats(channel, welcome.heartbeat))
                group.create_task(self._reports(channel))
                group.create_task(self._descriptions(channel))
                group.create_task(self._attachments(channel))
                group.create_task(self._ask(channel))
                group.create_task(self._applied(channel))
                group.create_task(self._usages(channel))
                group.create_task(self._host_usages(channel))
                group.create_task(self._volumes(channel))
                group.create_task(self._renewals(channel))
                group.create_task(self._fail_when_unfit())
                await self._read(channel, group)
        except* SwarmError as errors:
            _log.warning("session with %s ended: %s", self._address, next(leaves(errors)))
        _mind_cancellation()

    def _turn(self, channel: Channel | None) -> None:
        self._channel = channel
        self.since = self._clock.now()
        self.refused = ""
        self._news.set()

    def _learn(self, managers: tuple[str, ...]) -> None:
        """Hear where managers are."""
        if managers and managers != self.told:
            self.told = managers
            self._news.set()

    def _note_refusal(self, why: str) -> None:
        if why != self.refused:
            self.refused = why
            self._news.set()

    async def _read(self, channel: Channel, group: asyncio.TaskGroup) -> None:
        while True:
            number, message = await channel.receive()
            await self._handle(channel, group, number, message)

    async def _handle(self, channel: Channel, group: asyncio.TaskGroup, number: int, message: AnyMessage) -> None:
        match message:
            case HeartbeatAck() | GoodbyeAck():
                self._confirmed(message)
            case Assignments():
                if not await self._agent.assigned(message):
                    await self._pace.send(channel, Resync())
            case StatusAck():
                self._reporter.confirmed(number)
            case (
                RegistryAuth()
                | Measure()
                | MeasureHost()
                | RenewCertificate()
                | RenewReply()
                | Managers()
                | ReportVolumes()
            ):
                await self._tell(channel, message)
            case OpenStream() | BecomeManager():
                self._begin(group, message)
            case ImageSources() | Spared() | AllApplied():
                self._questions.answered(number, message)
            case ImageGrant() | SeekImage() | BringImage():
                await self._handle_image(channel, group, number, message)
            case Refused():
                raise error_of_refusal(message)
            case _:
                _log.warning("the manager sent an unexpected %s", type(message).__name__)

    def _confirmed(self, message: HeartbeatAck | GoodbyeAck) -> None:
        """Note that the manager heard something; that of a heartbeat the channel notes."""
        if isinstance(message, GoodbyeAck):
            self._goodbye_heard = True
            self._parted.set()

    async def _handle_image(
        self,
        channel: Channel,
        group: asyncio.TaskGroup,
        number: int,
        message: ImageGrant | SeekImage | BringImage,
    ) -> None:
        match message:
            case ImageGrant():
                await self._image_server.grant(message)
            case SeekImage():
                _beside(group, self._seek, channel, number, message)
            case BringImage():
                _beside(group, self._bring, channel, number, message)

    async def _tell(
        self,
        channel: Channel,
        message: RegistryAuth | Measure | MeasureHost | RenewCertificate | RenewReply | Managers | ReportVolumes,
    ) -> None:
        match message:
            case Managers():
                self._learn(message.managers)
            case ReportVolumes():
                self._agent.report_volumes()
            case Measure():
                self._agent.measure(message)
            case MeasureHost():
                self._agent.measure_host(message)
            case RegistryAuth():
                self._agent.authorised(message)
            case RenewCertificate():
                self._renewal.hurry()
            case RenewReply():
                serial = self._renewal.renewed(message)
                if serial and self._protocol > OLDEST_PROTOCOL:
                    await self._pace.send(channel, CertificateStored(serial=serial))

    def _begin(self, group: asyncio.TaskGroup, message: OpenStream | BecomeManager) -> None:
        if isinstance(message, OpenStream):
            self._open(group, message)
        else:
            _beside(group, become_manager, message, self._address)

    def _open(self, group: asyncio.TaskGroup, message: OpenStream) -> None:
        if self._streams >= MAX_STREAMS:
            why = f"it has {MAX_STREAMS} streams open already, which is the most"
            _log.warning("refused a stream to %s: %s", quote_foreign(message.target), why)
            _beside(group, self._dialler.refuse, self._address, message, why)
            return
        self._streams += 1
        _beside(group, self._dialler.stream, self._address, message).add_done_callback(self._closed)

    def _closed(self, _: asyncio.Task[None]) -> None:
        self._streams -= 1

    async def _fail_when_unfit(self) -> None:
        raise Unavailable(await self._agent.unfit())

    async def _heartbeats(self, channel: Channel, period: float) -> None:
        """Say that this host lives; give up on a manager that says nothing for several periods."""
        loop = asyncio.get_running_loop()
        while True:
            await channel.send(Heartbeat())
            await asyncio.sleep(period)
            silence = loop.time() - channel.last_received
            if silence > MISSED_HEARTBEATS * period + 1.0:
                raise Unavailable(f"{channel.peer} has been silent for {silence:.1f} s")

    async def _reports(self, channel: Channel) -> None:
        while True:
            number, batch = await self._reporter.take()
            await self._pace.send(channel, StatusReport(tasks=batch), number)
            await asyncio.sleep(REPORT_SECONDS)

    async def _descriptions(self, channel: Channel) -> None:
        while True:
            await self._pace.send(channel, await self._agent.description_changed())

    async def _attachments(self, channel: Channel) -> None:
        while True:
            await self._pace.send(channel, await self._agent.attachments_changed())
            await asyncio.sleep(REPORT_SECONDS)

    async def _usages(self, channel: Channel) -> None:
        while True:
            await self._pace.send(channel, await self._agent.measured())

    async def _host_usages(self, channel: Channel) -> None:
        while True:
            await self._pace.send(channel, await self._agent.host_measured())

    async def _volumes(self, channel: Channel) -> None:
        while True:
            await self._pace.send(channel, await self._agent.volumes_changed())

    async def _ask(self, channel: Channel) -> None:
        while True:
            number, question = await self._questions.take()
            await self._pace.send(channel, question, number)

    async def _applied(self, channel: Channel) -> None:
        while True:
            await self._pace.send(channel, await self._agent.applied())

    async def _seek(self, channel: Channel, number: int, message: SeekImage) -> None:
        await self._pace.send(channel, await self._image_server.seen(message.reference), number)

    async def _bring(self, channel: Channel, number: int, message: BringImage) -> None:
        await self._pace.send(channel, await self._agent.brought(message), number)

    async def _renewals(self, channel: Channel) -> None:
        while True:
            await self._pace.send(channel, await self._renewal.due(), 1)


def _beside(group: asyncio.TaskGroup, work: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
    """Do something that the manager asks for beside the session: a bug that it meets ends it, and not the worker."""

    async def contained() -> None:
        try:
            await work(*arguments)
        except SwarmError:
            raise
        except Exception:  # noqa: BLE001 - the tasks of this host must not pay for it; it is logged whole
            _log.exception("unexpected error in what the manager asked for: it gets no answer")

    return group.create_task(contained())


def _mind_cancellation() -> None:
    """Go on being cancelled: a task group whose children fail in that moment forgets it (Python before 3.13)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


# What a session needs of the rest of the worker: ways to reach managers, the agent, the certificate.


class Dialler(Protocol):
    """How managers are reached."""

    async def session(self, address: str, hello: Hello) -> tuple[Channel, Welcome]:
        """Open a session with the manager at `host:port`; errors as `common.wire.client.open_session`."""

    async def unfit(self, address: str, reason: str) -> None:
        """Let the manager at `host:port` know why there is no session; errors as `common.wire.client.say_unfit`."""

    async def stream(self, address: str, opened: OpenStream) -> None:
        """Answer an `OpenStream` and carry its bytes until it ends; raises no SwarmError."""

    async def refuse(self, address: str, opened: OpenStream, why: str) -> None:
        """Answer an `OpenStream` with why it cannot be; raises no SwarmError."""


class Agent(Protocol):
    """What a session tells and asks."""

    async def ready(self) -> None:
        """Wait until this host can run tasks."""

    async def unfit(self) -> str:
        """Wait until it cannot (any more), and return why, for a person."""

    def hello(self) -> Hello: ...

    def welcomed(self) -> None: ...

    async def assigned(self, message: Assignments) -> bool:
        """Take assignments; False when they do not follow on those that are here."""

    async def applied(self) -> Applied:
        """Wait until this host's network is as newer assignments have it, and say which."""

    def authorised(self, message: RegistryAuth) -> None: ...

    def measure(self, message: Measure) -> None:
        """Measure these services' tasks from now on."""

    async def measured(self) -> Usage:
        """Wait for the next measurements."""

    def measure_host(self, message: MeasureHost) -> None:
        """Measure the host so often from now on."""

    async def host_measured(self) -> HostUsage:
        """Wait for the next measurement of the host."""

    def report_volumes(self) -> None:
        """Say which volumes there are, from now on."""

    async def volumes_changed(self) -> VolumeReport:
        """Wait until there is something to say of volumes, if that is wanted."""

    async def brought(self, message: BringImage) -> Brought:
        """Have an image here."""

    async def description_changed(self) -> NodeReport:
        """Wait until this host is not any more what it last said it was."""

    async def attachments_changed(self) -> AttachmentReport:
        """Wait until something became of a plain container in the cluster's networks."""

    def lost(self) -> None:
        """Hear that the session has ended."""

    async def removed(self, reason: str) -> None:
        """Hear that the cluster has removed this node."""


class Renewal(Protocol):
    """When and how the node's certificate is replaced."""

    async def due(self) -> RenewRequest:
        """Wait until it is time, and return the request."""

    def hurry(self) -> None:
        """Let it be time now."""

    def renewed(self, reply: RenewReply) -> str:
        """Take the new certificate in use; return its serial number, empty when it could not be stored."""
