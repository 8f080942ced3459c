"""Tell systemd that the service is ready, alive, or stopping (sd_notify(3)); silent where systemd did not start us."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Notifier:
    """The notification socket of this process.

    `watchdog` is the period in seconds within which systemd expects a sign of life, 0 when it expects none.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC; the latter counts only when it is meant for this process."""
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "0") if ours else "0"
        return cls(environment.get("NOTIFY_SOCKET", ""), int(microseconds) / 1e6)

    def ready(self, status: str = "") -> None:
        self._send("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Ping the watchdog at half its period until cancelled; an event loop that hangs stops the pings."""
        while self.watchdog:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 2)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        flags = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, flags) as notify:
            try:
                notify.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                # Who started us may have stopped listening: that is no reason to stop working.
                _log.debug("cannot notify %r: %s", self._address, error)
