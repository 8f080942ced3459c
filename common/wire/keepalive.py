"""Notice that a peer's host is gone although this end only reads."""

from __future__ import annotations

import asyncio
import socket

IDLE_SECONDS = 5
INTERVAL_SECONDS = 2
PROBES = 3


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
