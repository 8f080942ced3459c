"""How this worker reaches managers: TLS with the node's certificate, which it also renews in time."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable

from common.clock import Clock, sleep_until, to_the_second
from common.errors import InvalidArgument, SwarmError, Unauthenticated, Unavailable
from common.tls import (
    CredentialFiles,
    certificate_request,
    client_context,
    follow_context,
    new_key,
    peer_context,
    renewal_time,
)
from common.wire.channel import CHUNK, Channel, ChannelClosed, open_raw, splice
from common.wire.client import dial_stream, explain_by_clocks, open_session, say_unfit
from common.wire.messages import Hello, OpenStream, RenewReply, RenewRequest, Welcome
from common.wire.server import FIRST_FRAME_BYTES
from common.wire.stream import StreamChannel
from common.wire.volume_copy import CONTROL, DATA
from worker.config import parse_address
from worker.images.serve import ImageServer
from worker.intake.identifiers import quote_foreign
from worker.volumes.transfers import VolumeTransfers

_ASK_AGAIN_SECONDS = 600.0
# The longest that a manager may take to read a page of metrics.
WRITE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Credentials:
    """The node's certificate in use: its TLS context, and its renewal at a random 50-80 % of its life."""

    def __init__(self, files: CredentialFiles, clock: Clock, rng: random.Random) -> None:
        self._files = files
        self.clock = clock
        self._rng = rng
        self._context: ssl.SSLContext | None = None
        self._peer_context: ssl.SSLContext | None = None
        self._key = b""
        self._identity = files.identity()
        self._due = renewal_time(self._identity, rng)
        self._asked_now = asyncio.Event()

    @property
    def valid_until(self) -> float:
        """When the certificate ends, in Unix seconds."""
        return self._identity.not_after

    def context(self) -> ssl.SSLContext:
        """Return the context to dial with.

        Raises:
            Unauthenticated: the certificate has ended.

        """
        if self.valid_until < self.clock.now():
            raise Unauthenticated(
                f"this node's certificate expired at {to_the_second(self.valid_until)}: leave with "
                "'swarm-worker leave' and join again"
            )
        if self._context is None:
            self._context = client_context(self._files)
        return self._context

    def peer_context(self) -> ssl.SSLContext:
        """Return the context to serve other workers with; each new certificate takes effect in it."""
        if self._peer_context is None:
            self._peer_context = peer_context(self._files)
            front = peer_context(self._files)
            follow_context(front, lambda: self._peer_context or front)
            self._peer_front = front
        return self._peer_front

    async def due(self) -> RenewRequest:
        await self._until_due()
        self._due = self.clock.now() + _ASK_AGAIN_SECONDS
        self._key = new_key()
        return RenewRequest(csr=certificate_request(self._key))

    async def _until_due(self) -> None:
        """Wait until it is time, or until a manager asks for it now."""
        waits = [
            asyncio.ensure_future(sleep_until(self._due, self.clock)),
            asyncio.ensure_future(self._asked_now.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        self._asked_now.clear()

    def renew_now(self) -> None:
        self._asked_now.set()

    def renewed(self, reply: RenewReply) -> str:
        if not self._key:
            _log.warning("the manager sent a certificate that was not asked for")
            return ""
        key, self._key = self._key, b""
        try:
            self._files.write(reply.certificate, key, reply.root_certificate)
        except OSError as error:
            _log.error("the renewed certificate cannot be stored: %s: asking again soon", error)
            return ""
        self._context = None
        if self._peer_context is not None:
            self._peer_context = peer_context(self._files)
        self._identity = self._files.identity()
        self._due = renewal_time(self._identity, self._rng)
        _log.info("certificate renewed, valid until %s", to_the_second(self.valid_until))
        return self._identity.serial


class TlsDialler:
    """The `Dialler` (worker.link.interfaces) of production.

    copies: serves streams of copies of volumes; None: this worker copies none.
    page: writes the metrics of this host's tasks, for Prometheus; None: there are none.
    """

    def __init__(
        self,
        credentials: Credentials,
        docker_host: str,
        image_server: ImageServer,
        copies: VolumeTransfers | None = None,
        page: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._credentials = credentials
        self._copies = copies
        self._page = page
        self._docker_host = docker_host
        self._image_server = image_server

    async def session(self, address: str, hello: Hello) -> tuple[Channel, Welcome]:
        host, port = parse_address(address)
        try:
            return await open_session(host, port, self._credentials.context(), hello)
        except (Unauthenticated, ChannelClosed) as error:
            raise await explain_by_clocks(error, host, port, self._credentials.clock) from error

    async def unfit(self, address: str, reason: str) -> None:
        host, port = parse_address(address)
        await say_unfit(host, port, self._credentials.context(), reason)

    async def stream(self, address: str, opened: OpenStream) -> None:
        try:
            if opened.target == "images":
                await self._serve_images(address, opened)
                return
            if opened.target in (CONTROL, DATA) and self._copies is not None:
                ends = open_raw(await self._dial(address, opened.stream_id))
                await (self._copies.control(ends) if opened.target == CONTROL else self._copies.data(ends))
                return
            if opened.target == "metrics" and self._page is not None:
                await self._write(address, opened, await self._page())
                return
            if opened.target != "engine":
                await self._refuse(address, opened, f"this worker has no stream to {quote_foreign(opened.target)}")
                return
            try:
                engine = await open_engine(self._docker_host)
            except OSError as error:
                await self._refuse(address, opened, f"its engine does not answer: {error.strerror or error}")
                return
            await self._join(address, opened, engine)
        except SwarmError as error:
            _log.warning("stream to %s: %s", quote_foreign(opened.target), error.message)

    async def refuse(self, address: str, opened: OpenStream, why: str) -> None:
        try:
            await self._refuse(address, opened, why)
        except SwarmError as error:
            _log.warning("stream to %s: %s", quote_foreign(opened.target), error.message)

    async def _join(
        self, address: str, opened: OpenStream, engine: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        try:
            channel = await self._dial(address, opened.stream_id)
            raw = open_raw(channel)
        except BaseException:
            engine[1].close()
            raise
        await splice(engine, raw)

    async def _write(self, address: str, opened: OpenStream, data: bytes) -> None:
        """Send data, and end the stream."""
        _, writer = open_raw(await self._dial(address, opened.stream_id))
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                writer.write(data)
                await writer.drain()
        except (OSError, TimeoutError) as error:
            _log.warning("stream to %s: the manager does not read it: %s", quote_foreign(opened.target), error)
        finally:
            writer.close()

    async def _serve_images(self, address: str, opened: OpenStream) -> None:
        """Serve images to a worker that reaches this one through the manager; the stream carries frames again."""
        stream = await self._dial(address, opened.stream_id)
        ready: asyncio.Future[StreamChannel] = asyncio.get_running_loop().create_future()
        stream.detach(StreamChannel(ready.set_result, FIRST_FRAME_BYTES))
        await self._image_server.handle(await ready)

    async def _refuse(self, address: str, opened: OpenStream, why: str) -> None:
        await self._dial(address, opened.stream_id, why)

    async def _dial(self, address: str, stream_id: str, error: str = "") -> Channel:
        host, port = parse_address(address)
        try:
            return await dial_stream(host, port, self._credentials.context(), stream_id, error)
        except OSError as problem:
            raise Unavailable(f"cannot reach {address}: {problem}") from problem


async def open_engine(host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the engine at a Docker host.

    Raises:
        OSError: nothing answers there.

    """
    if host.startswith("unix://"):
        return await asyncio.open_unix_connection(host.removeprefix("unix://"), limit=CHUNK)
    if host.startswith("tcp://"):
        return await asyncio.open_connection(*parse_address(host.removeprefix("tcp://")), limit=CHUNK)
    raise InvalidArgument(f"cannot connect to the Docker host {host!r}")
