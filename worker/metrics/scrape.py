"""Fetching a metric that a container exposes over HTTP, from inside its network namespace: no port is published for it.

Prometheus' text format is parsed only as far as one metric needs it.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import math
import re
import socket
from http import HTTPStatus

from common.wire.usage_messages import Scrape
from worker.host.netns import socket_in

SCRAPE_SECONDS = 2.0
MAX_BYTES = 1 << 20
_CHUNK = 1 << 16


async def scrape(pid: int, what: Scrape) -> float:
    """Return the value that a container's process has at 127.0.0.1, in its own network.

    Raises:
        OSError, ValueError: it cannot be had, within two seconds and a mebibyte; the text says why.

    """
    try:
        async with asyncio.timeout(SCRAPE_SECONDS):
            with await socket_in(pid, socket.AF_INET, socket.SOCK_STREAM) as connection:
                data = await _fetch(connection, what)
    except TimeoutError:
        raise ValueError(f"no answer within {SCRAPE_SECONDS:g} s") from None
    return total(_body(data), what.name)


async def _fetch(connection: socket.socket, what: Scrape) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", what.port))
    head = f"GET {what.path} HTTP/1.1\r\nHost: 127.0.0.1:{what.port}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(connection, head.encode())
    data = bytearray()
    while chunk := await loop.sock_recv(connection, _CHUNK):
        data += chunk
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
    return bytes(data)


class _Received:
    """Received bytes in the place of a socket, as the standard library's parser reads from one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _body(data: bytes) -> str:
    """Return the text of an answer.

    Raises:
        ValueError: it is not an HTTP answer, or its status is not 200.

    """
    response = http.client.HTTPResponse(_Received(data))  # type: ignore[arg-type]  # it asks for nothing else of it
    try:
        response.begin()
        body = response.read()
    except http.client.HTTPException as error:
        raise ValueError(f"not an HTTP answer: {error!r}") from error
    if response.status != HTTPStatus.OK:
        raise ValueError(f"HTTP status {response.status}")
    return body.decode(errors="replace")


def total(text: str, name: str) -> float:
    """Return the sum of all samples of a metric, whatever their labels.

    Raises:
        ValueError: there is none, or one is not a finite number.

    """
    # A label's value may hold anything, so the labels end at the last brace.
    sample = re.compile(rf"{re.escape(name)}(?:\s*\{{.*\}})?\s+(\S+)(?:\s+-?\d+)?\s*", re.ASCII)
    matches = [match for line in text.splitlines() if line.startswith(name) and (match := sample.fullmatch(line))]
    if not matches:
        raise ValueError(f"no metric {name}")
    try:
        value = math.fsum(float(match[1]) for match in matches)
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is not a finite number")
    return value
