"""A worker that says whatever it is told: a stolen or broken node, as a library.

It holds a real certificate, opens real connections (TLS, or in memory for the simulation) and speaks the protocol by
hand, so that a test reads as what was said:

    mallory = EvilWorker(dial)
    await mallory.hello(hostname="alice")                       # a session, under another's name
    await mallory.reports(task, addresses={"mesh": "10.240.1.1"})
    mallory.answers[SeekImage] = lambda asked: ImageSeen(image_id=POISONED)
    await mallory.says_raw(NodeReport.KIND, {"description": 5})  # what no message is
    await mallory.sends(b"\\x93\\xff")                            # what no frame is

What it heard last is in `heard` and, of assignments, all in `assigned`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from common.errors import SwarmError
from common.model.node import NodeDescription
from common.model.task import Task, TaskState, TaskStatus
from common.net.addressing import layout, mesh_prefix, with_ipv4
from common.tls import certificate_request, new_key
from common.wire.channel import ChannelClosed
from common.wire.codec import encode
from common.wire.handshake import check_join_reply, check_welcome, error_of_refusal
from common.wire.membership_messages import Applied, GoodbyeAck
from common.wire.message import Message
from common.wire.messages import (
    MESH6,
    PROTOCOL_VERSION,
    AnyMessage,
    Assignments,
    Heartbeat,
    Hello,
    JoinReply,
    JoinRequest,
    LeaveAck,
    NodeReport,
    OpenStream,
    Refused,
    Resync,
    RootReply,
    RootRequest,
    StatusReport,
    StreamHello,
    TaskReport,
    Welcome,
)
from tests.hostile.lines import Dial, Line
from worker.assignments import AssignmentSet

M = TypeVar("M", bound=Message)
T = TypeVar("T")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
# Of what it has heard.
REMEMBERED = 1000
# The manager answers what it answers within this time, or not at all.
PATIENCE = 10.0


class EvilWorker:
    """One node's hands. `dial` opens a connection as that node; `clock()` is what it takes for the time.

    answers: what it says to each kind of question; None says nothing. Without an entry a question stays open.
    engine: what is at the other end of streams to its engine; None: streams are refused.
    applies: whether it says, as it should, that it has applied what it was assigned.
    beats: whether it sends heartbeats by itself.
    """

    def __init__(self, dial: Dial, clock: Callable[[], float]) -> None:
        self._dial = dial
        self._clock = clock
        self._line: Line | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._news = asyncio.Condition()
        self.heard: deque[AnyMessage] = deque(maxlen=REMEMBERED)
        self.assigned = AssignmentSet()
        self.answers: dict[type[Message], Callable[[Any], AnyMessage | None]] = {}
        self.engine: Serve | None = None
        self.applies = True
        self.beats = True
        # Why the session ended, once it has.
        self.ended: SwarmError | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hangs_up()

    # --- to begin and to end ------------------------------------------------------------------------------------------

    async def hello(self, hostname: str = "mallory", **fields: Any) -> Welcome:
        """Open a session. `fields` are those of `Hello`, and of its description.

        Raises:
            SwarmError: the manager refuses.

        """
        own = {name: fields.pop(name) for name in Hello.__struct_fields__ if name in fields}
        own.setdefault("description", NodeDescription(hostname=hostname, **fields))
        await self.opens()
        await self.says(Hello(**{"protocol": PROTOCOL_VERSION, **own}), 1)
        assert self._line is not None
        async with asyncio.timeout(PATIENCE):
            welcome = check_welcome((await self._line.receive()).message)
        self.assigned = AssignmentSet()
        self._keep(self._listen(self._line))
        if self.beats:
            self._keep(self._beat(welcome.heartbeat))
        return welcome

    async def opens(self) -> None:
        """Open a connection, and say nothing yet."""
        await self.hangs_up()
        self.ended = None
        self._line = await self._dial()

    async def hangs_up(self) -> None:
        """Break the connection off."""
        ending, self._background = self._background, set()
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._line is not None:
            await self._line.close()
            self._line = None

    def forgets(self) -> None:
        """Let go of all that it was told."""
        self.heard.clear()
        self.assigned = AssignmentSet()

    @property
    def connected(self) -> bool:
        return self._line is not None and self.ended is None

    # --- to speak -----------------------------------------------------------------------------------------------------

    async def says(self, message: AnyMessage, request_id: int = 0) -> None:
        await self.sends(encode(message, request_id))

    async def says_raw(self, kind: object, body: object, request_id: object = 0) -> None:
        """Say a frame of any kind and any body that msgpack has words for."""
        await self.sends(msgspec.msgpack.encode((kind, request_id, body)))

    async def sends(self, data: bytes) -> None:
        """Send any bytes."""
        if self._line is None:
            raise ChannelClosed("the evil worker has no connection")
        await self._line.send(data)

    async def describes(self, hostname: str = "mallory", **description: Any) -> None:
        """Say that its host is something else now."""
        await self.says(NodeReport(description=NodeDescription(hostname=hostname, **description)))

    async def reports(self, task: Task | str, state: TaskState = TaskState.RUNNING, **status: Any) -> None:
        """Say of a task, its own or not, that it is in a state."""
        task_id = task if isinstance(task, str) else task.id
        said = TaskStatus(**{"state": state, "timestamp": self._clock(), **status})
        await self.says(StatusReport(tasks=(TaskReport(task_id=task_id, status=said),)), 1)

    async def asks(self, question: AnyMessage, answer: type[M], request_id: int = 9) -> M:
        """Say something, forget what was heard before, and return the answer; TimeoutError when there is none."""
        self.heard.clear()
        await self.says(question, request_id)
        return await self.hears(answer)

    async def parts(self, message: AnyMessage) -> LeaveAck | GoodbyeAck:
        """Say, as the first thing of a connection, that the node goes: `Withdraw`, `Unfit`."""
        line = await self._dial()
        try:
            await line.send(encode(message, 3))
            async with asyncio.timeout(PATIENCE):
                answer = (await line.receive()).message
        finally:
            await line.close()
        if isinstance(answer, Refused):
            raise error_of_refusal(answer)
        assert isinstance(answer, LeaveAck | GoodbyeAck)
        return answer

    async def opens_stream(self, hello: StreamHello) -> Line:
        """Dial a connection for a stream that perhaps nobody has asked it for."""
        line = await self._dial()
        await line.send(encode(hello))
        return line

    # --- to listen ----------------------------------------------------------------------------------------------------

    async def hears(self, kind: type[M], patience: float = PATIENCE) -> M:
        """Return the first message of a kind that it has heard in this session, when there is one."""
        return await self._when(
            lambda: next((each for each in self.heard if isinstance(each, kind)), None),
            patience,
        )

    async def task_of(self, service: str, patience: float = PATIENCE) -> Task:
        """Return its task of a service, as soon as it was assigned one that is to run."""

        def find() -> Task | None:
            tasks = self.assigned.tasks.values()
            wanted = (each for each in tasks if each.service_name == service)
            return next((each for each in wanted if each.desired_state <= TaskState.RUNNING), None)

        return await self._when(find, patience)

    async def _when(self, find: Callable[[], T | None], patience: float) -> T:
        async with asyncio.timeout(patience), self._news:
            while (found := find()) is None:
                if self.ended is not None:
                    raise self.ended
                await self._news.wait()
            return found

    async def closed(self, patience: float = PATIENCE) -> SwarmError:
        """Wait for the end of the session, and return why the manager ended it."""
        async with asyncio.timeout(patience), self._news:
            while self.ended is None:
                await self._news.wait()
            return self.ended

    # --- inside -------------------------------------------------------------------------------------------------------

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _beat(self, period: float) -> None:
        with contextlib.suppress(ChannelClosed):
            while True:
                await self.says(Heartbeat())
                await asyncio.sleep(period)

    async def _listen(self, line: Line) -> None:
        try:
            while True:
                number, message = await line.receive()
                await self._take(number, message)
                async with self._news:
                    self._news.notify_all()
        except SwarmError as error:
            self.ended = self.ended or error
            async with self._news:
                self._news.notify_all()

    async def _take(self, number: int, message: AnyMessage) -> None:
        self.heard.append(message)
        if isinstance(message, Assignments):
            await self._hold(message)
        elif isinstance(message, OpenStream) and self.engine is not None:
            self._keep(self._serve(self.engine, message))
        elif isinstance(message, Refused):
            self.ended = error_of_refusal(message)
        if (answer := self.answers.get(type(message))) is not None and (said := answer(message)) is not None:
            await self.says(said, number)

    async def _hold(self, message: Assignments) -> None:
        new = self.assigned.apply(message)
        if new is None:
            await self.says(Resync())
            return
        self.assigned = new
        if self.applies:
            await self.says(Applied(number=message.results_in))

    async def _serve(self, engine: Serve, opened: OpenStream) -> None:
        """Be the engine at the other end of a stream."""
        line = await self.opens_stream(StreamHello(stream_id=opened.stream_id))
        reader, writer = line.bare()
        try:
            await engine(reader, writer)
        finally:
            writer.close()
            await line.close()


async def join(dial: Dial, token: str, hostname: str, **terms: Any) -> tuple[JoinReply, bytes]:
    """Join as a host that says any `terms`; return what it got, and its key (PEM). `dial` shows no certificate.

    Raises:
        SwarmError: the manager refuses.

    """
    line = await dial()
    try:
        await line.send(encode(RootRequest(), 1))
        root = (await line.receive()).message
        assert isinstance(root, RootReply)
    finally:
        await line.close()
    key = new_key()
    wanted = {"protocol": PROTOCOL_VERSION, "clock": root.clock, "csr": certificate_request(key), **terms}
    line = await dial()
    try:
        await line.send(encode(JoinRequest(token=token, hostname=hostname, **wanted), 1))
        return check_join_reply((await line.receive()).message), key
    finally:
        await line.close()


def own_address(assigned: AssignmentSet, node_id: str, network_id: str, host: int = 7) -> str:
    """Return an address in a node's own part of a network, as far as it was told of it: the one of this number."""
    if not assigned.node_number:
        return "10.0.0.1"
    gateway = layout(assigned.address_pools).gateway_range(assigned.node_number)[host]
    if network_id == MESH6 and (prefix := mesh_prefix(assigned.address_pools)) is not None:
        return str(with_ipv4(prefix, gateway))
    found = assigned.networks.get(network_id)
    lease = found.leases.get(node_id) if found is not None else None
    return str(ipaddress.IPv4Network(lease)[host]) if lease else str(gateway)
