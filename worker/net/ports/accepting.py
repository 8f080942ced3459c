"""Accepting connections at a listening socket, also while the process has no file descriptors or memory left."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

# The pause after an accept that failed for lack of descriptors or memory, which would fail again at once.
PAUSE_SECONDS = 1.0

_LACKING = {
    errno.EMFILE: "this process has reached its limit of open files: raise LimitNOFILE= of its unit",
    errno.ENFILE: "this host has reached its limit of open files: raise sysctl fs.file-max",
    errno.ENOBUFS: "the kernel has no memory for it",
    errno.ENOMEM: "the kernel has no memory for it",
}

_log = logging.getLogger(__name__)


class Acceptor:
    """Gives connections at a listening, non-blocking socket to `take`, with their sender's address, until `end`.

    `name` says for the log what cannot be reached when nothing can be accepted.
    """

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket, Any], None], name: str) -> None:
        self._listening = listening
        self._take = take
        self._name = name
        self._pause: asyncio.TimerHandle | None = None
        self._lacks = False
        self._begin()

    def end(self) -> None:
        """Accept no more; the socket stays open. Repeatable."""
        if self._pause is not None:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(self._listening)

    def _begin(self) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            connection, sender = self._listening.accept()
        except OSError as error:
            if error.errno in _LACKING:
                self._wait(_LACKING[error.errno])
            return  # else it has gone again
        self._lacks = False
        self._take(connection, sender)

    def _wait(self, lacking: str) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        self._pause = loop.call_later(PAUSE_SECONDS, self._begin)
        if not self._lacks:
            _log.warning(
                "cannot accept connections to %s: %s; trying again every %g s", self._name, lacking, PAUSE_SECONDS
            )
        self._lacks = True
