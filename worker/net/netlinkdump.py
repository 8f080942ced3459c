"""Everything that the kernel has of one kind, asked for over a netlink socket. Numbers are those of linux/netlink.h."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from worker.net.netlinkevents import messages

_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_READ = 1 << 16


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
