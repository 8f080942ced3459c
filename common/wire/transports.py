"""What a connection has besides its bytes: flow control through layers of protocols, and a peer whose host is there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

IDLE_SECONDS = 5
INTERVAL_SECONDS = 2
PROBES = 3


class Layer(asyncio.Transport, asyncio.Protocol):
    """A transport to the protocol above (`_upper`), a protocol to the transport below (`_lower`).

    Its end of writing can be said (`write_eof`) while it still reads: what asyncio's own TLS cannot.
    """

    def __init__(self, lower: asyncio.Transport | None, upper: asyncio.Protocol | None) -> None:
        super().__init__()
        self._lower = lower
        self._upper = upper
        self._closing = False

    @property
    def _below(self) -> asyncio.Transport:
        assert self._lower is not None, "not available before there is a connection"
        return self._lower

    @property
    def _above(self) -> asyncio.Protocol:
        assert self._upper is not None, "there is none before the handshake"
        return self._upper

    # --- towards the protocol -----------------------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._upper = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._above

    def is_closing(self) -> bool:
        return self._closing or self._below.is_closing()

    def close(self) -> None:
        """Say that this end is done, and stop reading too. For a stream that is given up there is `abort`."""
        if not self.is_closing():
            self.write_eof()
            self._closing = True
            self._below.close()

    def abort(self) -> None:
        self._closing = True
        if self._lower is not None:
            self._lower.abort()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._below.get_write_buffer_limits()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    # --- towards the connection ---------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self._upper is not None:
            self._upper.pause_writing()

    def resume_writing(self) -> None:
        if self._upper is not None:
            self._upper.resume_writing()


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the kernel probe a silent TCP peer: a host that lost its power breaks the connection within 11 seconds."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    # The same for bytes that are sent and not acknowledged.
    patience = (IDLE_SECONDS + INTERVAL_SECONDS * PROBES) * 1000
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
