"""Serving images to other workers, and dialling those that serve them.

`ImageServer` gives an image to whoever shows a ticket for it that the manager has announced. `ImageLink` connects to
another worker's server, directly where that can be, else through the manager.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from common.clock import Clock
from common.errors import (
    NotFound,
    PermissionDenied,
    ProtocolError,
    ResourceExhausted,
    SwarmError,
    Unauthenticated,
    Unavailable,
)
from common.tls import ROLE_MANAGER, ROLE_WORKER, peer_name
from common.wire.admission import Admission
from common.wire.channel import Channel, ChannelClosed, PeerInfo, open_raw
from common.wire.handshake import refusal
from common.wire.image_messages import (
    ImageGrant,
    ImageOffer,
    ImageRequest,
    ImageSeen,
    ImageSource,
    ImageWant,
    RelayHello,
)
from common.wire.server import FIRST_FRAME_BYTES, dial
from common.wire.transports import keep_alive
from worker.config import parse_address
from worker.images.archive import ImageTar
from worker.images.fetch import ThroughputCheck, TooSlow
from worker.intake.addresses import socket_address
from worker.intake.identifiers import Unusable, brief, identifier
from worker.interfaces.engine import Engine, Image

# Connections served at once: more would make each slower, and the others wait, or find another source by then. One
# node is served once at a time and may wait with so many connections, so that it cannot keep others from an image.
MAX_SERVED = 3
MAX_WAITING = 8
# Connections of one node that have not shown a good ticket: each is waited for some seconds.
MOST_SILENT_OF_NODE = 2 * MAX_WAITING
GRANT_SECONDS = 600.0
MAX_GRANTS = 10_000
# A ticket may arrive before the manager has announced it.
_GRANT_WAIT = 5.0
_FRAME_WAIT = 10.0
# A receiver that takes nothing for so long is given up.
_STALL_SECONDS = 120.0

_DIRECT_SECONDS = 3.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Granted:
    image_id: str
    node_id: str
    until: float


class ImageServer:
    """One worker's images for the others. `handle` serves a connection, `grant` hears of tickets.

    `admission` is that of the port that other workers come by: who shows no ticket pays for it there.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.admission = Admission()
        self._engine = engine
        self._clock = clock
        self._silent: Counter[str] = Counter()
        self._grants: dict[str, _Granted] = {}
        self._granted = asyncio.Condition()
        self._slots = asyncio.Semaphore(MAX_SERVED)
        # By the node that fetches: whose turn it is, and how many of its connections are here.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()

    async def grant(self, message: ImageGrant) -> None:
        """Let a node fetch an image, for a while."""
        now = self._clock.now()
        self._grants = {ticket: grant for ticket, grant in self._grants.items() if grant.until > now}
        if len(self._grants) >= MAX_GRANTS:
            del self._grants[next(iter(self._grants))]
        self._grants[message.ticket] = _Granted(message.image_id, message.node_id, now + GRANT_SECONDS)
        async with self._granted:
            self._granted.notify_all()

    async def seen(self, reference: str) -> ImageSeen:
        """Tell a manager whether this host has an image, by its id or the beginning of it."""
        try:
            image = await self._engine.image(reference)
        except Unusable:
            image = None  # no image can be called so
        except SwarmError as error:
            _log.warning("cannot look for image %s: %s", reference, error.message)
            image = None
        return ImageSeen(image_id=image.id if image is not None else "")

    async def handle(self, channel: Channel) -> None:
        """Serve one connection, direct or through a manager.

        Raises:
            SwarmError: why it ended, for the log.

        """
        try:
            with self._visit(channel.peer):
                grant = await self._admitted(channel)
            image, node_id = await self._granted_image(grant), grant.node_id
            async with self._turn_of(node_id), self._slots:
                want = await self._offer(channel, image)
                await self._send(channel, image, want.present)
        except ChannelClosed:
            raise
        except SwarmError as error:
            with contextlib.suppress(ChannelClosed):
                await channel.send(refusal(error))
            raise
        finally:
            await channel.close()

    @contextlib.asynccontextmanager
    async def _turn_of(self, node_id: str) -> AsyncIterator[None]:
        """Wait until a node is not being served.

        Raises:
            ResourceExhausted: more of its connections wait than an honest node makes.

        """
        self._waiting[node_id] += 1
        try:
            if self._waiting[node_id] > MAX_WAITING:
                raise ResourceExhausted(f"{MAX_WAITING} images are being fetched from here by this node already")
            async with self._turns[node_id]:
                yield
        finally:
            self._waiting[node_id] -= 1
            if not self._waiting[node_id]:
                del self._waiting[node_id], self._turns[node_id]

    @contextlib.contextmanager
    def _visit(self, peer: PeerInfo) -> Iterator[None]:
        """Count a connection until the block ends, in which it is to show its ticket.

        Raises:
            ResourceExhausted: there are too many of this node.

        """
        if peer.identity is None or peer.identity.role == ROLE_MANAGER:  # it was dialled: a manager carries it
            yield
            return
        node_id, now = peer.identity.node_id, asyncio.get_running_loop().time
        if self._silent[node_id] >= MOST_SILENT_OF_NODE:
            self.admission.note_failed(peer.remote_address, now())
            raise ResourceExhausted(
                f"node {node_id} has {MOST_SILENT_OF_NODE} connections here that have not shown a ticket"
            )
        self._silent[node_id] += 1
        try:
            yield
        except BaseException:
            self.admission.note_failed(peer.remote_address, now())
            raise
        finally:
            self._silent[node_id] -= 1
            if not self._silent[node_id]:
                del self._silent[node_id]

    async def _admitted(self, channel: Channel) -> _Granted:
        """Return what a connection has a ticket for."""
        identity = channel.peer.identity
        if identity is not None and identity.role not in (ROLE_WORKER, ROLE_MANAGER):
            raise PermissionDenied(f"images are for workers: {channel.peer} has another certificate")
        request = await _next(channel)
        if not isinstance(request, ImageRequest):
            raise ProtocolError(f"a worker does not say {type(request).__name__} to another")
        grant = await self._find(request.ticket)
        stranger = identity is not None and (identity.role, identity.node_id) != (ROLE_WORKER, grant.node_id)
        if stranger or grant.image_id != request.image_id or grant.until < self._clock.now():
            raise PermissionDenied(f"the ticket of {channel.peer} is not for this image, or has expired")
        return grant

    async def _granted_image(self, grant: _Granted) -> Image:
        image = await self._engine.image(grant.image_id)
        if image is None or image.id != grant.image_id:
            raise NotFound(f"No such image: {grant.image_id}")
        return image

    async def _find(self, ticket: str) -> _Granted:
        try:
            async with asyncio.timeout(_GRANT_WAIT), self._granted:
                await self._granted.wait_for(lambda: ticket in self._grants)
                return self._grants[ticket]
        except TimeoutError:
            raise PermissionDenied("no manager has announced that ticket to this worker") from None

    async def _offer(self, channel: Channel, image: Image) -> ImageWant:
        await channel.send(ImageOffer(size=image.size, layers=image.layers))
        want = await _next(channel)
        if not isinstance(want, ImageWant) or not 0 <= want.present <= len(image.layers):
            raise ProtocolError("an ImageWant must follow on an ImageOffer")
        return want

    async def _send(self, channel: Channel, image: Image, present: int) -> None:
        _, writer = open_raw(channel)
        keep_alive(writer.transport)
        tar = ImageTar(image.id, image.layers[:present])
        throughput, loop = ThroughputCheck(_STALL_SECONDS), asyncio.get_running_loop()
        try:
            async with contextlib.aclosing(self._engine.save(image.id)) as pieces:
                async for data in pieces:
                    writer.writelines(tar.feed(data))
                    began = loop.time()
                    async with asyncio.timeout(_STALL_SECONDS):
                        await writer.drain()
                    throughput.moved(len(data), loop.time() - began)
        except (OSError, TimeoutError, TooSlow) as error:
            writer.transport.abort()
            raise Unavailable(f"{channel.peer} stopped taking image {image.id}: {error!r}") from error
        except BaseException:
            writer.transport.abort()  # a receiver must not take this for the end
            raise
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):  # whether all has come, the receiver knows
            async with asyncio.timeout(_STALL_SECONDS):
                await writer.wait_closed()


async def _next(channel: Channel) -> object:
    try:
        async with asyncio.timeout(_FRAME_WAIT):
            return (await channel.receive()).message
    except TimeoutError:
        raise ProtocolError(f"{channel.peer} said nothing for {_FRAME_WAIT:g} s") from None


class ImageLink:
    """Dials sources. `context` gives this node's TLS context, `manager` the address of the manager in use."""

    def __init__(self, context: Callable[[], ssl.SSLContext], manager: Callable[[], str]) -> None:
        self._context = context
        self._manager = manager

    async def dial(self, source: ImageSource) -> Channel:
        """Connect to a source; the caller closes the channel.

        Raises:
            SwarmError: neither it nor a manager can be reached.

        """
        if source.addr:
            try:
                return await self._direct(source)
            except (Unavailable, Unauthenticated, Unusable) as error:
                _log.info("%s; its image comes through the manager", error.message)
        return await self._relayed(source)

    async def _direct(self, source: ImageSource) -> Channel:
        host, port = socket_address(source.addr)
        name = peer_name(identifier(source.node_id))
        return await dial(
            str(host), port, self._context(), limit=FIRST_FRAME_BYTES, wait=_DIRECT_SECONDS, server_name=name
        )

    async def _relayed(self, source: ImageSource) -> Channel:
        address = self._manager()
        if not address:
            raise Unavailable(f"no manager can be reached to join us with {brief(source.hostname)}")
        host, port = parse_address(address)
        channel = await dial(host, port, self._context(), limit=FIRST_FRAME_BYTES)
        try:
            await channel.send(RelayHello(ticket=source.ticket))
        except SwarmError:
            await channel.close()
            raise
        return channel
