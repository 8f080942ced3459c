"""Netlink as bytes: events, dumps, messages and their attributes, as netlink(7) lays them out.

A container that starts and ends makes the kernel tell of links many times, with forty attributes each, of which two
matter. pyroute2 decodes all of them: that was a third of the worker's work for a task.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

# The netlink protocol of nftables.
NETFILTER = 12
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_SO_RCVBUFFORCE = 33
# A large change has an event for each of its parts, all at once.
_RECEIVE_BUFFER = 16 << 20
_BATCH = 1 << 18
_HEADER = struct.Struct("=IHHII")
# A socket's filter, as linux/filter.h lays it out: what it returns is how much of a message is let through.
_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_WORD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_PROCESS_AT = 12
_WHOLE = 0xFFFFFFFF
_ATTRIBUTE = struct.Struct("=HH")
_FLAGS_OF_ATTRIBUTES = 0xC000
# Flags of a request, and kinds of messages in its answer (linux/netlink.h).
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_READ = 1 << 16


class Message(NamedTuple):
    """One event: its type, the process that caused it (0: the kernel by itself), and what follows the header."""

    kind: int
    process: int
    body: memoryview


class Listener:
    """A socket that hears of changes; `batch` waits for them."""

    def __init__(self, events: socket.socket) -> None:
        self._socket = events
        self.readable = asyncio.Event()

    def ignore(self, process: int) -> None:
        """Have the kernel keep to itself what this process has caused: one change may have 100,000 events."""
        program = b"".join(
            (
                _INSTRUCTION.pack(_LOAD_WORD, 0, 0, _PROCESS_AT),
                _INSTRUCTION.pack(_EQUALS, 0, 1, int.from_bytes(struct.pack("=I", process), "big")),
                _INSTRUCTION.pack(_RETURN, 0, 0, 0),
                _INSTRUCTION.pack(_RETURN, 0, 0, _WHOLE),
            )
        )
        there = ctypes.create_string_buffer(program, len(program))
        count = len(program) // _INSTRUCTION.size
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", count, ctypes.addressof(there)))

    async def batch(self) -> tuple[list[Message], bool]:
        """Wait for events; return all that are there, and whether others were lost because they were too many."""
        await self.readable.wait()
        self.readable.clear()
        found: list[Message] = []
        lost = False
        while True:
            try:
                found += messages(self._socket.recv(_BATCH))
            except BlockingIOError:
                return found, lost
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True


@contextmanager
def listening(protocol: int, groups: Sequence[int]) -> Iterator[Listener]:
    """Hear of a netlink protocol's multicast groups; both are numbers of the kernel's.

    Raises:
        OSError: the kernel does not know them, or does not let us.

    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol) as events:
        events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        events.bind((0, 0))
        for group in groups:
            events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        listener = Listener(events)
        loop.add_reader(events, listener.readable.set)
        try:
            yield listener
        finally:
            loop.remove_reader(events)


def dump(kernel: socket.socket, kind: int, question: bytes) -> Iterator[memoryview]:
    """Yield what follows the header of each message in the answer, which the kernel begins within the call that asks.

    Raises:
        OSError: it refuses.

    """
    kernel.send(_HEADER.pack(_HEADER.size + len(question), kind, _REQUEST | _DUMP, 0, 0) + question)
    while True:
        for message in messages(kernel.recv(_READ)):
            if message.kind == _DONE:
                return
            if message.kind == _ERROR:
                (code,) = struct.unpack_from("=i", message.body)
                raise OSError(-code, os.strerror(-code))
            yield message.body


def messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of what one read brought; a truncated one ends it."""
    view = memoryview(data)
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, _, _, process = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield Message(kind, process, view[position + _HEADER.size : position + length])
        position += (length + 3) & ~3


def attributes(body: memoryview, start: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the kind and value of each attribute behind the first `start` bytes, the part that all have."""
    position = start
    while position + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, position)
        if length < _ATTRIBUTE.size:
            return
        yield kind & ~_FLAGS_OF_ATTRIBUTES, body[position + _ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3


def select_attributes(body: memoryview, start: int, kinds: Collection[int]) -> dict[int, memoryview]:
    """Return those of `attributes` that are of these kinds, without making anything of the many others."""
    found: dict[int, memoryview] = {}
    position, last = start, len(body) - _ATTRIBUTE.size
    while position <= last:
        length, kind = _ATTRIBUTE.unpack_from(body, position)
        if length < _ATTRIBUTE.size:
            break
        kind &= ~_FLAGS_OF_ATTRIBUTES
        if kind in kinds:
            found[kind] = body[position + _ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3
    return found


def text(value: memoryview | bytes) -> str:
    return bytes(value).rstrip(b"\0").decode(errors="replace")


def number(value: memoryview | bytes) -> int:
    return int.from_bytes(value, sys.byteorder)
