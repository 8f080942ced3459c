"""Which nodes have an image, and who fetches it from whom: the manager's part in the transfer of images.

The bytes go from worker to worker. The manager finds the sources, spreads the fetchers over them, and gives each fetch
a ticket, which it tells the source first: so a worker gets the images of its own tasks and no others, and a node that
was removed gets none. Only where two workers cannot reach each other does it carry the bytes.

`ImageQuestions` are what it asks one worker: each has a number, which its answer carries.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from common.errors import NotFound, PermissionDenied, ResourceExhausted, SwarmError
from common.ids import new_id
from common.model.task import Task, TaskState
from common.text.image_names import begins_with, pinned_digest
from common.wire.channel import Channel, ChannelClosed, open_raw, splice
from common.wire.image_messages import (
    BringImage,
    Brought,
    FetchImage,
    ImageGrant,
    ImageSeen,
    ImageSource,
    ImageSources,
    RelayHello,
    SeekImage,
)
from common.wire.messages import AnyMessage
from common.wire.transports import keep_alive
from manager.config import bracket_host
from manager.dispatch.membership import member
from manager.dispatch.streams import Streams
from manager.domain.image_use import needed_images
from manager.store.store import Store

SEEK_SECONDS = 3.0
# How long the answer to who has an image holds. Nobody has it: not long, it may be built just now.
KNOWN_SECONDS = 10.0
UNKNOWN_SECONDS = 1.0
MAX_SOURCES = 3
TICKET_SECONDS = 600.0
MAX_RELAYS = 32
RELAYS_OF_NODE = 8
# Beyond so many images, those without current knowledge are dropped.
_MAX_KNOWN = 4096

_log = logging.getLogger(__name__)


class Peer(Protocol):
    """A worker's session, as far as images go."""

    async def send(self, message: AnyMessage) -> None: ...

    async def seek(self, image_id: str) -> ImageSeen:
        """Ask whether the node holds an image, by its id or the beginning of it."""

    async def bring(self, image_id: str) -> str:
        """Have the node fetch an image; return what its engine knows it as."""


@dataclass(slots=True)
class _Known:
    """Who has one image, as far as was heard; `heard` and `until`: when, and until when it holds (loop time)."""

    nodes: dict[str, None] = field(default_factory=dict)
    heard: float = -math.inf
    until: float = -math.inf
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _Ticket:
    source: str
    fetcher: str
    image_id: str
    until: float


class ImageBroker:
    """Finds images on nodes. `sessions` are the dispatcher's, by node id; `relayed` hears of what it carries."""

    def __init__(
        self,
        store: Store,
        rng: random.Random,
        sessions: Mapping[str, Peer],
        streams: Streams,
        relayed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._relayed = relayed
        self._store = store
        self._rng = rng
        self._sessions = sessions
        self._streams = streams
        self._known: dict[str, _Known] = {}
        self._tickets: OrderedDict[str, _Ticket] = OrderedDict()  # the one that ends first is first
        self._serving: dict[tuple[str, str], str] = {}
        self._relays: Counter[str] = Counter()
        # What nodes fetch for clients: they have no task to show for it.
        self._brought: Counter[tuple[str, str]] = Counter()

    async def holders(self, image_id: str) -> dict[str, str]:
        """Ask all connected nodes which of them hold an image; return its id by node id.

        `image_id` may be the beginning of an id: then nodes may hold several that begin so, each one of them. What
        they say is believed of themselves alone, and no name is ever asked for: a name means what clients made of it.
        """
        nodes = list(self._sessions)
        answers = await asyncio.gather(*(self._seek(node_id, image_id) for node_id in nodes))
        return {node_id: held for node_id, held in zip(nodes, answers, strict=True) if held}

    async def bring(self, node_id: str, image_id: str) -> str:
        """Have a node fetch an image for a client; return what its engine knows it as.

        Raises:
            NotFound: the node is not connected, or no other could give it the image.
            ChannelClosed: the node is lost in the course of it.

        """
        session = self._sessions.get(node_id)
        if session is None:
            raise NotFound(f"node {node_id} is not connected")
        self._brought[node_id, image_id] += 1
        try:
            return await session.bring(image_id)
        finally:
            self._brought[node_id, image_id] -= 1
            self._brought += Counter()  # forgets what is at zero

    # --- what sessions report ----------------------------------------------------------------------------------------

    async def sources(self, fetcher: str, request: FetchImage) -> ImageSources:
        """Name the nodes that a node may fetch an image from, the least busy first."""
        self._release(fetcher, request.image_id)
        if not request.image_id or not self._may_have(fetcher, request.image_id):
            _log.warning("node %s asks for image %s, which none of its tasks needs", fetcher, request.image_id)
            return ImageSources()
        holders = await self._holders(request.image_id, refresh=bool(request.failed))
        usable = self._ranked(node for node in holders if node != fetcher and node not in request.failed)
        sources = [source for node in usable if (source := await self._source(node, fetcher, request.image_id))]
        if sources:
            self._serving[fetcher, request.image_id] = sources[0].node_id
        return ImageSources(sources=tuple(sources))

    def held(self, node_id: str, image_id: str) -> None:
        """Hear that a node has fetched an image: it can give it on."""
        self._release(node_id, image_id)
        if image_id in self._known:
            self._known[image_id].nodes[node_id] = None

    def spared(self, image_ids: Collection[str]) -> tuple[str, ...]:
        """Choose those of these images that no service names, in its present or previous spec, and no task runs."""
        kept = needed_images(self._store.view).digests
        return tuple(image_id for image_id in image_ids if image_id not in kept)

    def left(self, node_id: str) -> None:
        """Hear that a node's session has ended."""
        for key in [key for key, source in self._serving.items() if node_id in (key[0], source)]:
            del self._serving[key]

    async def relay(self, channel: Channel, hello: RelayHello, expected: Callable[[], None]) -> None:
        """Carry an image to a worker from a source that it cannot reach, until both are done.

        `expected` is called when the ticket is accepted, before any bytes are carried.

        Raises:
            SwarmError: it has no ticket, or the source cannot be reached either.

        """
        ticket = self._tickets.get(hello.ticket)
        identity = channel.peer.identity
        if identity is None or ticket is None or ticket.fetcher != identity.node_id or ticket.until < _now():
            raise PermissionDenied(f"{channel.peer} does not have a ticket for an image")
        member(self._store.view, identity)
        if self._relays.total() >= MAX_RELAYS or self._relays[identity.node_id] >= RELAYS_OF_NODE:
            raise ResourceExhausted("too many image transfers through this manager: try again")
        source = self._sessions.get(ticket.source)
        if source is None:
            raise NotFound(f"node {ticket.source} is no longer connected")
        expected()
        self._relays[identity.node_id] += 1
        try:
            far = await self._streams.open(ticket.source, "images", source.send, open_raw)
            try:
                near = open_raw(channel)
            except BaseException:
                far[1].close()
                raise
            for _, writer in (near, far):
                keep_alive(writer.transport)
            await splice(near, far, self._count)
        finally:
            self._relays[identity.node_id] -= 1
            self._relays += Counter()  # forgets what is at zero

    async def _count(self, data: bytes) -> None:
        self._relayed(len(data))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _may_have(self, node_id: str, image_id: str) -> bool:
        tasks = self._store.view.tasks.on_node(node_id)
        return (node_id, image_id) in self._brought or any(_needs(task, image_id) for task in tasks)

    async def _holders(self, image_id: str, *, refresh: bool) -> list[str]:
        """Return the connected nodes that have an image. Many ask when a service starts, but nodes are asked once."""
        if len(self._known) > _MAX_KNOWN:
            self._known = {key: known for key, known in self._known.items() if known.until > _now()}
        known = self._known.setdefault(image_id, _Known())
        asked = _now()
        async with known.asking:
            if known.until < asked or (refresh and known.heard < asked - UNKNOWN_SECONDS):
                known.nodes = dict.fromkeys(await self.holders(image_id))
                known.heard = _now()
                known.until = known.heard + (KNOWN_SECONDS if known.nodes else UNKNOWN_SECONDS)
        return [node_id for node_id in known.nodes if node_id in self._sessions]

    async def _seek(self, node_id: str, image_id: str) -> str:
        """Return the id of the image that a node says it holds, empty if it does not, or says it of another one."""
        try:
            async with asyncio.timeout(SEEK_SECONDS):
                seen = await self._sessions[node_id].seek(image_id)
        except (KeyError, SwarmError, TimeoutError) as error:
            _log.warning("node %s does not say whether it has image %s: %r", node_id, image_id, error)
            return ""
        if seen.image_id and not begins_with(seen.image_id, image_id):
            _log.warning("node %s answered with an image other than %s: refused", node_id, image_id)
            return ""
        return seen.image_id

    def _ranked(self, nodes: Iterable[str]) -> list[str]:
        busy = Counter(self._serving.values())
        return sorted(nodes, key=lambda node: (busy[node], self._rng.random()))[:MAX_SOURCES]

    async def _source(self, node_id: str, fetcher: str, image_id: str) -> ImageSource | None:
        node, session = self._store.view.nodes.get(node_id), self._sessions.get(node_id)
        if node is None or session is None:
            return None
        ticket = new_id(self._rng)
        try:
            await session.send(ImageGrant(ticket=ticket, image_id=image_id, node_id=fetcher))
        except SwarmError:
            return None  # its session ends just now
        self._forget_old_tickets()
        self._tickets[ticket] = _Ticket(node_id, fetcher, image_id, _now() + TICKET_SECONDS)
        reachable = node.image_port and node.status.addr
        addr = f"{bracket_host(node.status.addr)}:{node.image_port}" if reachable else ""
        return ImageSource(node_id=node_id, hostname=node.name, addr=addr, ticket=ticket)

    def _forget_old_tickets(self) -> None:
        while self._tickets and next(iter(self._tickets.values())).until < _now():
            self._tickets.popitem(last=False)

    def _release(self, fetcher: str, image_id: str) -> None:
        self._serving.pop((fetcher, image_id), None)


def _needs(task: Task, image_id: str) -> bool:
    container = task.spec.container_spec
    wanted = task.desired_state <= TaskState.RUNNING and not task.status.state.terminal
    return wanted and container is not None and pinned_digest(container.image) == image_id


def _now() -> float:
    return asyncio.get_running_loop().time()


class ImageQuestions:
    """The questions of one session that wait for their answers."""

    def __init__(self, node_id: str, channel: Channel) -> None:
        self._node_id = node_id
        self._channel = channel
        self._open: dict[int, asyncio.Future[ImageSeen | Brought]] = {}
        self._closed = False
        self._numbers = itertools.count(1)

    async def seek(self, image_id: str) -> ImageSeen:
        """Ask the worker whether its engine has an image, by its id or the beginning of it.

        Raises:
            ChannelClosed: the connection is gone.

        """
        seen = await self._ask(SeekImage(reference=image_id))
        return seen if isinstance(seen, ImageSeen) else ImageSeen()

    async def bring(self, image_id: str) -> str:
        """Have the worker fetch an image; return what its engine knows it as.

        Raises:
            NotFound: it could not, or does not say so.
            ChannelClosed: the connection is gone.

        """
        brought = await self._ask(BringImage(image_id=image_id))
        if not isinstance(brought, Brought):
            raise NotFound(f"node {self._node_id} does not say whether it has fetched {image_id}")
        if brought.error:
            raise NotFound(brought.error)
        return brought.name or image_id

    async def _ask(self, question: SeekImage | BringImage) -> ImageSeen | Brought:
        if self._closed:
            raise self._ended()
        number = next(self._numbers)
        answer: asyncio.Future[ImageSeen | Brought] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            await self._channel.send(question, number)
            await asyncio.wait([answer])
            if answer.cancelled():
                raise self._ended()
            return answer.result()
        finally:
            del self._open[number]

    def answered(self, number: int, answer: ImageSeen | Brought) -> None:
        """Take an answer; one that nobody waits for is dropped."""
        question = self._open.get(number)
        if question is not None and not question.done():
            question.set_result(answer)

    def close(self) -> None:
        """Let those who wait know that no answer will come, and those who ask later."""
        self._closed = True
        for question in self._open.values():
            question.cancel()

    def _ended(self) -> ChannelClosed:
        return ChannelClosed(f"the session of node {self._node_id} has ended")
