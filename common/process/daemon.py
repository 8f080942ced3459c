"""Starting a daemon: through systemd where it runs and has the unit, else detached with a pid file and a log.

Both ends of sd_notify(3) are here: who starts a daemon waits until it is ready, and the daemon says so, that it is
alive, and that it stops, to whoever started it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from common.errors import Unavailable

STOP_SECONDS = 15.0
# As in the units.
OPEN_FILES = 1 << 20
SYSTEMD_MARK = Path("/run/systemd/system")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program of ours that runs in the background.

    `unit` is its systemd unit, used for the data directory `home` that the unit is made for; elsewhere `module` is run,
    with `run --data-dir`. Either way the program says when it is ready by sd_notify(3).
    """

    module: str
    unit: str
    home: Path
    data_dir: Path

    @property
    def pid_file(self) -> Path:
        return self.data_dir / "daemon.pid"

    @property
    def log_file(self) -> Path:
        return self.data_dir / "daemon.log"

    @property
    def by_systemd(self) -> bool:
        """Whether systemd is this machine's init and has the unit for this data directory."""
        if self.data_dir != self.home or not SYSTEMD_MARK.is_dir():
            return False
        return subprocess.run(["systemctl", "cat", self.unit], capture_output=True, check=False).returncode == 0

    def log_hint(self) -> str:
        """Say where the daemon's log is read."""
        return f"journalctl -u {self.unit}" if self.by_systemd else str(self.log_file)

    def start(self, timeout: float) -> None:
        """Start it and return when it says that it is ready. A unit that was not enabled before stays so on failure.

        Raises:
            Unavailable: it ended, or was not ready within `timeout` seconds and was stopped; the message says why as
                far as it is known, and where to look.

        """
        if self.by_systemd:
            self._start_unit()
            return
        with _ReadySocket() as notice:
            pid = self._detach(notice.address)
            if not notice.wait(pid, timeout):
                ended = self.pid() is None
                self.stop()
                what = "ended while starting" if ended else f"was not ready within {timeout:.0f} s"
                raise Unavailable(f"{self.unit} {what}: {self._log_tail()}")

    def pid(self) -> int | None:
        """Return the id of the running daemon that the pid file names, None when there is none."""
        try:
            pid = int(self.pid_file.read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        ours = self.module.encode() in command and str(self.data_dir).encode() in command
        return pid if ours and state != "Z" else None

    def stop(self) -> None:
        """Stop it and wait for its end; one that does not run is not an error.

        Raises:
            Unavailable: it did not end in time.

        """
        if self.by_systemd:
            self._systemctl("disable", "--now", self.unit)
            return
        pid = self.pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                watch = os.pidfd_open(pid)
                try:
                    signal.pidfd_send_signal(watch, signal.SIGTERM)
                    if not select.select([watch], [], [], STOP_SECONDS)[0]:
                        raise Unavailable(f"{self.unit} (process {pid}) did not stop within {STOP_SECONDS:.0f} s")
                finally:
                    os.close(watch)
            with suppress(ChildProcessError):  # only when it was this process that started it
                os.waitpid(pid, 0)
        self.pid_file.unlink(missing_ok=True)

    def _start_unit(self) -> None:
        query = ["systemctl", "is-enabled", "--quiet", self.unit]
        enabled = subprocess.run(query, capture_output=True, check=False).returncode == 0
        try:
            self._systemctl("enable", self.unit)
            self._systemctl("start", self.unit)  # on its own: an error is not hidden behind "Created symlink"
        except Unavailable:
            if not enabled:  # else systemd goes on trying, now and at the next boot
                self._systemctl("disable", "--now", self.unit)
            raise

    def _detach(self, notify_address: str) -> int:
        command = [sys.executable, "-m", self.module, "run", "--data-dir", str(self.data_dir)]
        # The log may quote what users typed: it is for its owner only.
        log = (os.POSIX_SPAWN_OPEN, 1, str(self.log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), log, (os.POSIX_SPAWN_DUP2, 1, 2)]
        environment = {**os.environ, "NOTIFY_SOCKET": notify_address}
        pid = os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A shell's own limit is for programs that cannot have many; a published port alone takes two.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(most, OPEN_FILES), most))
        self.pid_file.write_text(f"{pid}\n")
        return pid

    def _log_tail(self) -> str:
        """Return the last line of the daemon's log, and where the log is."""
        lines = self.log_file.read_text(errors="replace").strip().splitlines() if self.log_file.exists() else []
        return f"{lines[-1]} (log: {self.log_file})" if lines else f"it wrote nothing to {self.log_file}"

    def _systemctl(self, *arguments: str) -> None:
        result = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            words = result.stderr.strip().splitlines()
            reason = words[0] if words else f"exit code {result.returncode}"
            raise Unavailable(f"systemctl {' '.join(arguments)} failed: {reason}: see {self.log_hint()}")


class _ReadySocket:
    """Our end of sd_notify(3), for a program that we start ourselves: a datagram socket with an abstract name."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        name = f"swarm-ready-{os.getpid()}-{time.monotonic_ns()}"
        self._socket.bind(f"\0{name}")
        self.address = f"@{name}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, pid: int, timeout: float) -> bool:
        """Return whether the process said READY=1 before it ended and within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        watch = os.pidfd_open(pid)
        try:
            while (left := deadline - time.monotonic()) > 0:
                readable, _, _ = select.select([self._socket.fileno(), watch], [], [], left)
                if self._socket.fileno() in readable:
                    if b"READY=1" in self._socket.recv(4096).split(b"\n"):
                        return True
                elif readable:
                    os.waitpid(pid, 0)
                    return False
            return False
        finally:
            os.close(watch)


# --- the daemon's end ---


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
