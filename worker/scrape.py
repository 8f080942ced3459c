"""Fetching what a container exposes over HTTP, from inside of its network: whatever network that is, and unpublished.

A socket belongs to the network that it was made in, so only its making happens there, in a thread that ends with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import io
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from common.wire.usage_messages import Scrape
from worker import prometheus

SCRAPE_SECONDS = 2.0
MAX_BYTES = 1 << 20
_CHUNK = 1 << 16
_CLONE_NEWNET = 0x40000000


async def scrape(pid: int, what: Scrape) -> float:
    """Return the value that a container's process has at 127.0.0.1, in its own network.

    Raises:
        OSError, ValueError: it cannot be had, within two seconds and a mebibyte; the text says why.

    """
    try:
        async with asyncio.timeout(SCRAPE_SECONDS):
            with await asyncio.to_thread(_socket_in, pid) as connection:
                data = await _fetch(connection, what)
    except TimeoutError:
        raise ValueError(f"no answer within {SCRAPE_SECONDS:g} s") from None
    return prometheus.total(_body(data), what.name)


def _socket_in(pid: int) -> socket.socket:
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_enter_and_open, pid).result()


def _enter_and_open(pid: int) -> socket.socket:
    # os.setns is there from Python 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(network, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"its network cannot be entered: {os.strerror(number)}")
    finally:
        os.close(network)
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    return connection


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
    """An answer that is there, as the standard library's parser wants to read it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _body(data: bytes) -> str:
    """Return the text of an answer.

    Raises:
        ValueError: it is none, or no good one.

    """
    response = http.client.HTTPResponse(_Received(data))  # type: ignore[arg-type]  # it asks for nothing else of it
    try:
        response.begin()
        body = response.read()
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP answer: {error!r}") from error
    if response.status != HTTPStatus.OK:
        raise ValueError(f"HTTP status {response.status}")
    return body.decode(errors="replace")
