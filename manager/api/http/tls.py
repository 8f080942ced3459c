"""TLS of the API's TCP port: connections are the API's only when their certificate is verified, and strangers are few.

It has half-close: a client's end of input is heard, and it is still written to, where asyncio's own TLS ends with it.
`docker run -i` over TCP says so when its input is done, by TLS's close_notify, and waits for the output.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from common.aio.rate_limit import Rate, RateLimit
from common.clock import Clock
from common.tls import alert_in
from common.wire.transports import Layer
from manager.api.http.connection import Limits

_CHUNK = 64 * 1024

_LOG = logging.getLogger(__name__)
_SHUTDOWN_SECONDS = 1.0
# After an accept that failed for want of descriptors or memory; as asyncio's own servers wait.
_PAUSE_SECONDS = 1.0
# Failed handshakes of one address that are logged.
_LOGGED = Rate(burst=5, per_second=1 / 30)


class TlsTransport(Layer):
    """A server's end of TLS: stands between a connection and the protocol that `protocol` makes after the handshake.

    Nothing is kept here but what the protocol does not want to read yet, and flow control goes through both ways.
    """

    def __init__(self, context: ssl.SSLContext, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        super().__init__(None, None)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._make = protocol
        self._paused = False
        self._peer_done = False
        self._done = False

    @property
    def let_in(self) -> bool:
        """Whether the handshake is done, and the connection the protocol's."""
        return self._upper is not None

    async def refuse(self, alert: bytes, patience: float) -> None:
        """Send an alert to a client whose handshake failed, and hear it out for so many seconds.

        Closed before, it would read a reset and not the alert.
        """
        if alert and not self._lost.is_set():
            self._below.write(alert)
            self._below.write_eof()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._lost.wait()
        self.abort()

    # --- towards the protocol -----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":  # whoever asks wants to know whether half-close can be had
            return default
        return self._below.get_extra_info(name, default)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._below.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._below.resume_reading()
            asyncio.get_running_loop().call_soon(self._deliver)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._done:
            raise RuntimeError("write after write_eof")
        if self.is_closing():
            return
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._tls.write(rest[:_CHUNK]) :]
            self._flush()

    def write_eof(self) -> None:
        if not self._done:
            self._done = True
            with contextlib.suppress(ssl.SSLError):  # it says goodbye, and would wait for the other's
                self._tls.unwrap()
            self._flush()

    # --- towards the connection ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._lower = cast("asyncio.Transport", transport)  # uvloop's are not a subclass

    def data_received(self, data: bytes) -> None:
        if self._upper is None and self.ready.done():
            return  # what a refused client still says
        self._incoming.write(data)
        if self._upper is None and not self._shake_hands():
            return
        self._deliver()

    def eof_received(self) -> bool:
        """Stay open if the client has said that it is done; one that is cut off without a word is gone."""
        return self._peer_done

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and not (self._peer_done or self._closing):
            exc = ConnectionResetError("the client disconnected before the request was complete")
        self._closing = True
        self._lost.set()
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("the client disconnected before its handshake"))
        if self._upper is not None:
            self._upper.connection_lost(exc)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is done. One that fails shows in `ready`."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self.ready.set_exception(error)
            return False
        self._flush()
        upper = self._make()
        self.set_protocol(upper)
        upper.connection_made(self)
        self.ready.set_result(None)
        return True

    def _deliver(self) -> None:
        """Hand on what has come, as long as it is wanted."""
        while not (self._paused or self._closing or self._peer_done):
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:  # so it is said where this end has said goodbye before
                data = b""
            except ssl.SSLError as error:
                self._fail(error)
                return
            if data:
                self._above.data_received(data)
            else:
                self._peer_done = True
                if not self._above.eof_received():
                    self.close()
        self._flush()

    def _fail(self, error: ssl.SSLError) -> None:
        """End a connection whose bytes are not what they should be."""
        self._flush()
        self.abort()
        if self._upper is not None:
            upper, self._upper = self._upper, None
            upper.connection_lost(ConnectionResetError(f"what the client sent is not TLS: {error}"))

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._below.is_closing():
            self._below.write(data)


# --- the port ---


class TlsListener:
    """Accepts connections from a bound socket and makes of those that pass their handshake what `protocol` returns.

    How many may be without a certificate at a time, and for how long, `limits` say: in all and of one address.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        protocol: Callable[[], asyncio.BaseProtocol],
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._context = context
        self._protocol = protocol
        self._limits = limits
        self._strangers: Counter[str] = Counter()
        self._clock = clock
        self._complaints = RateLimit(_LOGGED)

    async def run(self) -> None:
        """Accept until cancelled. The listener is the caller's to close."""
        self._listener.setblocking(False)
        async with asyncio.TaskGroup() as handshakes:
            while True:
                try:
                    connection, peer = await asyncio.get_running_loop().sock_accept(self._listener)
                except OSError as error:
                    _LOG.error("cannot accept a client of the API: %s", error)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                address = str(peer[0])
                if self._may_try(address):
                    self._strangers[address] += 1
                    handshakes.create_task(self._welcome(connection, address))
                else:
                    connection.close()

    def _may_try(self, address: str) -> bool:
        limits = self._limits
        return self._strangers.total() < limits.handshakes and self._strangers[address] < limits.handshakes_per_address

    async def _welcome(self, connection: socket.socket, address: str) -> None:
        """Do the handshake. Whoever is refused is told why, and only then is the connection closed."""
        transport = TlsTransport(self._context, self._protocol)
        try:
            async with asyncio.timeout(self._limits.head_seconds):
                await asyncio.get_running_loop().connect_accepted_socket(lambda: transport, connection)
                await transport.ready
        except OSError as error:  # ssl.SSLError and TimeoutError are
            if self._complaints.allow(address, self._clock.now()):
                _LOG.info("a client of the API at %s was refused: %s", address, error or type(error).__name__)
            await transport.refuse(alert_in(error), _SHUTDOWN_SECONDS)
        finally:
            if not transport.let_in:
                transport.abort()
            self._strangers[address] -= 1
            if not self._strangers[address]:
                del self._strangers[address]
