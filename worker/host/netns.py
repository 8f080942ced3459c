"""Sockets in a container's network namespace: a socket stays in the namespace in which it was opened."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor

_CLONE_NEWNET = 0x40000000


async def socket_in(pid: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Open a socket, non-blocking, in the network of a process.

    Raises:
        OSError: the process has ended, or this one may not enter its network.

    """
    return await asyncio.to_thread(_open, pid, family, kind, protocol)


def _open(pid: int, family: int, kind: int, protocol: int) -> socket.socket:
    # In a thread that ends afterwards, so that none has to go back to this process's own namespace.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_enter_and_open, pid, family, kind, protocol).result()


def _enter_and_open(pid: int, family: int, kind: int, protocol: int) -> socket.socket:
    # os.setns is there from Python 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(network, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"its network cannot be entered: {os.strerror(number)}")
    finally:
        os.close(network)
    return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
