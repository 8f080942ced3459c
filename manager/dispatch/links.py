"""Links between managers: each keeps one to every other, to ask questions and to see that the other lives.

Only a manager in the store with a current certificate (`Node.manager_serials`) gets one: a demoted manager's is invalid
at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, TypeVar

from common.aio.first import first_of
from common.aio.steady import Backoff
from common.clock import Clock
from common.errors import PermissionDenied, ProtocolError, SwarmError, Unavailable, leaves
from common.model import Node
from common.text.terminal import printable
from common.tls import Identity
from common.version import version
from common.wire.channel import Channel, ChannelClosed, open_raw
from common.wire.client import ask_first
from common.wire.handshake import check_link, check_taken, error_of_refusal, identity_of, refusal
from common.wire.manager_messages import (
    CallerRecord,
    Elsewhere,
    Forwarded,
    ForwardJoin,
    Link,
    LinkWelcome,
    ManagerJoined,
    ManagerLeave,
    ManagerRenew,
    ReadAt,
    ReadIndex,
    StepTaken,
    WireEpoch,
)
from common.wire.messages import (
    PROTOCOL_VERSION,
    AnyMessage,
    Heartbeat,
    HeartbeatAck,
    JoinReply,
    LeaveAck,
    Refused,
    RenewReply,
)
from common.wire.server import dial
from manager.config import split_address
from manager.dispatch.managers import KnownManagers
from manager.domain.managers import address
from manager.store.levels import LEVELS, check_levels
from manager.store.view import View

Duplex: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Question: TypeAlias = ReadIndex | ForwardJoin | ManagerRenew | ManagerLeave | StepTaken
Answer: TypeAlias = ReadAt | JoinReply | ManagerJoined | RenewReply | LeaveAck
L = TypeVar("L", Link, LinkWelcome)

DIAL_SECONDS = 2.0
PERIOD_SECONDS = 0.5
SILENCE_SECONDS = 2.0
ASK_SECONDS = 10.0
# What managers may say to each other, and how large.
SIZES: Mapping[int, int] = MappingProxyType(
    {
        Heartbeat.KIND: 256,
        ReadIndex.KIND: 256,
        ForwardJoin.KIND: 128 * 1024,
        ManagerRenew.KIND: 64 * 1024,
        ManagerLeave.KIND: 256,
        StepTaken.KIND: 256,
    }
)
_RETRY_FIRST, _RETRY_LIMIT = 0.2, 2.0
_MAX_OPEN = 1024

_log = logging.getLogger(__name__)


class Answers(Protocol):
    """What answers other managers' questions."""

    @property
    def epoch(self) -> WireEpoch: ...

    def elsewhere(self) -> Elsewhere | None:
        """Say who leads; None: this manager does."""

    async def answer(self, question: Question, manager_id: str) -> Answer:
        """Answer a question that only the leader can.

        Raises:
            SwarmError: why not.

        """


def member_manager(view: View, identity: Identity) -> Node:
    """Return the manager that a certificate belongs to.

    Raises:
        PermissionDenied: the node is not a manager, or this certificate of it is not current.

    """
    node = view.nodes.get(identity.node_id)
    if node is None or node.spec.role != "manager" or identity.serial not in node.manager_serials:
        raise PermissionDenied(
            f"node {identity.node_id} is not a manager of this cluster with this certificate: it was demoted or removed"
        )
    return node


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """What this manager shows to others. `context` returns the TLS context to dial with."""

    node_id: str
    context: Callable[[], ssl.SSLContext]
    clock: Clock


class Links:
    """All links of a manager: those that it dials (`run`), and those that it is dialled for (`serve`)."""

    def __init__(
        self, own: OwnIdentity, known: KnownManagers, view: View, answers: Answers, rng: random.Random
    ) -> None:
        self._own = own
        self._known = known
        self._view = view
        self._answers = answers
        self._rng = rng
        self._links: dict[str, _Outbound] = {}
        self._moved = asyncio.Event()

    # --- asking others ------------------------------------------------------------------------------------------------

    def reachable(self, node_id: str) -> bool:
        """Whether a manager answers; true for this one."""
        return node_id == self._own.node_id or (node_id in self._links and self._links[node_id].is_up)

    def welcome_of(self, node_id: str) -> LinkWelcome | None:
        """Return the welcome of a manager that answers, else None."""
        link = self._links.get(node_id)
        return link.welcome if link is not None and link.is_up else None

    async def redial(self) -> None:
        """Dial all others again, to show them a renewed certificate."""
        await asyncio.gather(*(link.redial() for link in self._links.values()))

    def moved(self) -> Coroutine[Any, Any, object]:
        """Wait until, after this call, another manager starts to answer."""
        return self._moved.wait()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def ask(self, node_id: str, question: Question, seconds: float = ASK_SECONDS) -> Answer:
        """Ask another manager, and wait so many seconds for the answer.

        Raises:
            Unavailable: it does not answer, or does not lead; a question that was sent may still be acted on.
            SwarmError: it refused; the message is its.

        """
        link = self._links.get(node_id)
        if link is None:
            raise Unavailable(f"manager {node_id} is not known here yet")
        return await link.ask(question, seconds)

    async def open_forward(self, node_id: str, caller: CallerRecord) -> Duplex:
        """Open a connection to the API of the leader, on which requests are `caller`'s. The caller closes the writer.

        Raises:
            LedElsewhere: that manager does not lead: nothing was sent.
            Unavailable: it cannot be reached: nothing was sent.
            PermissionDenied: this manager was demoted or removed.

        """
        node = self._view.nodes.get(node_id)
        if node is None or not address(node):
            raise Unavailable(f"manager {node_id} is not known here yet")
        channel = await dial(*split_address(address(node)), self._own.context(), wait=DIAL_SECONDS)
        try:
            check_taken(await ask_first(channel, Forwarded(caller=caller)))
            return open_raw(channel)
        except BaseException:
            await channel.close()
            raise

    async def run(self) -> None:
        """Keep a link to every other manager, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = {node.id: address(node) for node in self._known.nodes if node.id != self._own.node_id}
                for node_id, link in list(self._links.items()):
                    if wanted.get(node_id) != link.address:
                        link.end()
                        del self._links[node_id]
                for node_id, where in wanted.items():
                    if node_id not in self._links and where:
                        link = self._links[node_id] = _Outbound(where, self._own, self._answers, self._rng, self._tell)
                        link.begin(group)
                await self._known.moved()

    # --- answering others ---------------------------------------------------------------------------------------------

    async def serve(self, channel: Channel, opening: Link, request_id: int, settle: Callable[[], None]) -> None:
        """Answer another manager's questions until it disconnects, or is no longer a manager.

        Raises:
            SwarmError: why the link ended.

        """
        identity = identity_of(channel.peer)
        node = member_manager(self._view, identity)
        speaker = f"manager {node.name}, release {printable(opening.release, 64)},"
        check_levels(opening.levels, self._view.cluster.store_level, speaker)
        channel.expect(SIZES)
        await channel.send(_introduction(LinkWelcome, self._own, self._answers), request_id)
        settle()
        _log.info("linked by manager %s, release %s", identity.node_id, printable(opening.release, 64))
        if (link := self._links.get(identity.node_id)) is not None:
            link.dial_now()
        try:
            async with asyncio.TaskGroup() as group:
                await self._answer_questions(channel, identity, group)
        except BaseExceptionGroup as errors:
            raise next(leaves(errors)) from errors

    async def _answer_questions(self, channel: Channel, identity: Identity, group: asyncio.TaskGroup) -> None:
        open_questions = asyncio.Semaphore(_MAX_OPEN)
        while True:
            number, message = await channel.receive()
            member_manager(self._view, identity)
            if isinstance(message, Heartbeat):
                await channel.send(HeartbeatAck(), number)
            elif isinstance(message, Question):
                await open_questions.acquire()
                answering = group.create_task(self._answer(channel, message, identity.node_id, number))
                answering.add_done_callback(lambda _: open_questions.release())
            else:
                raise ProtocolError(f"a manager does not say {type(message).__name__} over a link")

    async def _answer(self, channel: Channel, question: Question, manager_id: str, number: int) -> None:
        answer: AnyMessage
        try:
            answer = self._answers.elsewhere() or await self._answers.answer(question, manager_id)
        except SwarmError as error:
            answer = refusal(error)
        with contextlib.suppress(ChannelClosed):  # the other end sees that, too
            await channel.send(answer, number)


class _Outbound:
    """The link to one other manager, redialled until it is ended."""

    def __init__(
        self, where: str, own: OwnIdentity, answers: Answers, rng: random.Random, tell: Callable[[], None]
    ) -> None:
        self.address = where
        self._tell = tell
        self.welcome: LinkWelcome | None = None
        self._own = own
        self._answers = answers
        self._backoff = Backoff(_RETRY_FIRST, _RETRY_LIMIT, rng)
        self._channel: Channel | None = None
        self._asked: dict[int, asyncio.Future[AnyMessage]] = {}
        self._numbers = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._dial_now = asyncio.Event()

    @property
    def is_up(self) -> bool:
        return self._channel is not None

    def begin(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self._run(), name=f"link-{self.address}")

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def dial_now(self) -> None:
        """Dial at once, without waiting for the backoff: the other manager was seen."""
        self._backoff.reset()
        self._dial_now.set()

    async def redial(self) -> None:
        self._backoff.reset()
        if self._channel is not None:
            await self._channel.close("dialling again with a new certificate")

    async def ask(self, question: Question, seconds: float) -> Answer:
        channel = self._channel
        if channel is None:
            raise Unavailable(f"the manager at {self.address} does not answer")
        number = next(self._numbers)
        future: asyncio.Future[AnyMessage] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            async with asyncio.timeout(seconds):
                await channel.send(question, number)
                answer = await future
        except TimeoutError:
            raise Unavailable(f"the manager at {self.address} did not answer within {seconds:g} s") from None
        finally:
            del self._asked[number]
        match answer:
            case Refused():
                raise error_of_refusal(answer)
            case Elsewhere():
                raise Unavailable(f"the manager at {self.address} no longer leads: try again")
            case ReadAt() | JoinReply() | ManagerJoined() | RenewReply() | LeaveAck():
                return answer
            case _:
                raise Unavailable(f"the manager at {self.address} gave an unexpected {type(answer).__name__}")

    async def _run(self) -> None:
        said = ""
        while True:
            self._dial_now.clear()
            try:
                await self._keep()
            except (SwarmError, OSError) as error:
                if str(error) != said:
                    _log.warning("no link to the manager at %s: %s", self.address, error)
                    said = str(error)
            finally:
                self._lose()
            await first_of(self._dial_now.wait(), within=self._backoff.next())

    async def _keep(self) -> None:
        channel = await dial(*split_address(self.address), self._own.context(), wait=DIAL_SECONDS)
        try:
            self.welcome = check_link(await ask_first(channel, _introduction(Link, self._own, self._answers)))
            self._channel = channel
            self._tell()
            self._backoff.reset()
            _log.info("linked with the manager at %s, release %s", self.address, self.welcome.release)
            heart = asyncio.create_task(self._beat(channel))
            try:
                await self._listen(channel)
            finally:
                heart.cancel()
        finally:
            self._channel = None
            await channel.close()

    async def _listen(self, channel: Channel) -> None:
        while True:
            number, message = await channel.receive()
            if isinstance(message, Refused) and not number:
                raise error_of_refusal(message)
            future = self._asked.get(number)
            if future is not None and not future.done():
                future.set_result(message)

    async def _beat(self, channel: Channel) -> None:
        """Send heartbeats; close the channel when the other side is silent for too long."""
        with contextlib.suppress(ChannelClosed):
            while asyncio.get_running_loop().time() - channel.last_received < SILENCE_SECONDS:
                await channel.send(Heartbeat())
                await asyncio.sleep(PERIOD_SECONDS)
        await channel.close(f"the manager at {self.address} has been silent for {SILENCE_SECONDS:g} s")

    def _lose(self) -> None:
        self._channel = None
        for future in self._asked.values():
            if not future.done():
                future.set_exception(Unavailable(f"the connection to the manager at {self.address} broke"))


def _introduction(kind: type[L], own: OwnIdentity, answers: Answers) -> L:
    """Return what each end of a link says of itself."""
    return kind(protocol=PROTOCOL_VERSION, release=version(), clock=own.clock.now(), levels=LEVELS, epoch=answers.epoch)
