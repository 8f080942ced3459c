"""TLS with half-close: a client's end of input is heard, and it is still written to; asyncio's own TLS ends with it.

`docker run -i` over TCP says so when its input is done, by TLS's close_notify, and waits for the output.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

_CHUNK = 64 * 1024


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A server's end of TLS: stands between a connection and the protocol that `protocol` makes after the handshake.

    Nothing is kept here but what the protocol does not want to read yet, and flow control goes through both ways.
    """

    def __init__(self, context: ssl.SSLContext, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        super().__init__()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._make = protocol
        self._lower: asyncio.Transport | None = None
        self._upper: asyncio.Protocol | None = None
        self._paused = False
        self._peer_done = False
        self._done = False
        self._closing = False

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

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._upper = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._upper is not None, "there is none before the handshake"
        return self._upper

    def is_closing(self) -> bool:
        return self._closing or self._below.is_closing()

    def close(self) -> None:
        """Say that this end is done, and stop reading too."""
        if not self.is_closing():
            self.write_eof()
            self._closing = True
            self._below.close()

    def abort(self) -> None:
        self._closing = True
        if self._lower is not None:
            self._lower.abort()

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

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._below.get_write_buffer_limits()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._done:
            raise RuntimeError("write after write_eof")
        if self.is_closing():
            return
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._tls.write(rest[:_CHUNK]) :]
            self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._done:
            self._done = True
            with contextlib.suppress(ssl.SSLError):  # it says goodbye, and would wait for the other's
                self._tls.unwrap()
            self._flush()

    # --- towards the connection ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._lower = cast("asyncio.Transport", transport)  # uvloop's are no subclass

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

    def pause_writing(self) -> None:
        if self._upper is not None:
            self._upper.pause_writing()

    def resume_writing(self) -> None:
        if self._upper is not None:
            self._upper.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and not (self._peer_done or self._closing):
            exc = ConnectionResetError("the client is gone before it was done")
        self._closing = True
        self._lost.set()
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("the client is gone before its handshake"))
        if self._upper is not None:
            self._upper.connection_lost(exc)

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _below(self) -> asyncio.Transport:
        assert self._lower is not None, "nobody has this before there is a connection"
        return self._lower

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
            assert self._upper is not None, "nothing is read before the handshake"
            if data:
                self._upper.data_received(data)
            else:
                self._peer_done = True
                if not self._upper.eof_received():
                    self.close()
        self._flush()

    def _fail(self, error: ssl.SSLError) -> None:
        """End a connection whose bytes are not what they should be."""
        self._flush()
        self.abort()
        if self._upper is not None:
            upper, self._upper = self._upper, None
            upper.connection_lost(ConnectionResetError(f"what the client sent is no TLS: {error}"))

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._below.is_closing():
            self._below.write(data)
