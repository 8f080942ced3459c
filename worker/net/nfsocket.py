"""Send nftables commands to the kernel, a transaction at a time."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence

from common.errors import Unavailable
from worker.net.netlinkevents import NETFILTER, messages
from worker.net.nfmessages import Message, batch

_SOL_NETLINK = 270
_SHORT_ANSWERS = 10
_SO_SNDBUFFORCE = 32
_ANSWERS = 1 << 16
_ERROR = 2
_CODE_AND_REQUEST = struct.Struct("=iIHHI")


class NftSocket:
    """A socket that stays open: closing one waits until the kernel has freed all that it replaced."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sending = threading.Lock()

    @property
    def process(self) -> int:
        """What the kernel's events call the process behind these changes.

        Raises:
            OSError: the kernel knows no nftables.

        """
        process: int = self._opened().getsockname()[0]
        return process

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def send(self, commands: Sequence[Message]) -> None:
        """Have all of it done, or nothing.

        Raises:
            Unavailable: the kernel refuses.

        """
        try:
            # The kernel works within the call, for as long as there is much to do.
            await asyncio.to_thread(self._send, self._opened(), commands)
        except OSError as error:
            raise Unavailable(f"the kernel takes no rules for services: {error.strerror}") from error

    def _opened(self) -> socket.socket:
        if self._socket is None:
            self._socket = _connected()
        return self._socket

    def _send(self, kernel: socket.socket, commands: Sequence[Message]) -> None:
        data = batch(commands)
        with self._sending:
            kernel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(data))
            kernel.send(data)
            answers = list(_answers(kernel))
        for code, place in answers:
            if code:
                what = f"command {place + 1} of {len(commands)}, of kind {commands[place].kind}"
                raise Unavailable(f"the kernel refuses the rules of services ({what}): {os.strerror(code)}")
        if not answers:
            raise Unavailable("the kernel does not say whether it has the rules of services")


def _connected() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
    kernel.bind((0, 0))
    kernel.setsockopt(_SOL_NETLINK, _SHORT_ANSWERS, 1)
    return kernel


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int]]:
    """Yield what was answered: an error's number, or 0, and the place of the command. It is all there by now."""
    while True:
        try:
            data = kernel.recv(_ANSWERS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # more refusals than there was room for: the first ones are there
                raise
            continue
        for message in messages(data):
            if message.kind == _ERROR:
                code, _, _, _, place = _CODE_AND_REQUEST.unpack_from(message.body)
                yield -code, place
