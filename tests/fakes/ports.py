"""Ports of this machine for tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def answer_to_plain_text(port: int) -> bytes:
    """Return what a TCP port of 127.0.0.1 answers to an HTTP request without TLS, until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await reader.read()
    writer.close()
    return answer
