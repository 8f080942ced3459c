"""Starting a daemon: through systemd where it runs and has the unit, else detached with a pid file and a log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import Unavailable

STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05
_SYSTEMD_MARK = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program of ours that runs in the background.

    `unit` is its systemd unit, used for the data directory `home` that the unit is made for; `module` is run with `run
    --data-dir` otherwise.
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
        if self.data_dir != self.home or not _SYSTEMD_MARK.is_dir():
            return False
        probe = subprocess.run(["systemctl", "cat", self.unit], capture_output=True, check=False)
        return probe.returncode == 0

    def log_hint(self) -> str:
        """Say where the daemon's log is read."""
        return f"journalctl -u {self.unit}" if self.by_systemd else str(self.log_file)

    def start(self) -> None:
        """Start it and return at once.

        Raises:
            Unavailable: it cannot be started; the message says why and where to look.

        """
        if self.by_systemd:
            _systemctl("enable", "--now", "--no-block", self.unit)
        else:
            self._detach([sys.executable, "-m", self.module, "run", "--data-dir", str(self.data_dir)])

    def _detach(self, command: list[str]) -> None:
        # The log may quote what users typed: it is for its owner only.
        log = (os.POSIX_SPAWN_OPEN, 1, str(self.log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), log, (os.POSIX_SPAWN_DUP2, 1, 2)]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)
        self.pid_file.write_text(f"{pid}\n")

    def pid(self) -> int | None:
        """Return the id of the running daemon that the pid file names, None when there is none."""
        try:
            pid = int(self.pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        ours = self.module.encode() in command and str(self.data_dir).encode() in command
        return pid if ours else None

    def exited(self) -> bool:
        """Whether the daemon has ended by itself, as far as one can tell."""
        if self.by_systemd:
            return subprocess.run(["systemctl", "is-failed", "-q", self.unit], check=False).returncode == 0
        pid = self.pid()
        if pid is None:
            return True
        with suppress(ChildProcessError):
            return os.waitpid(pid, os.WNOHANG)[0] == pid
        return False

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return when `ready()` is true.

        Raises:
            Unavailable: the daemon ended, or was not ready within `timeout` seconds.

        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self.exited():
                raise Unavailable(f"{self.unit} ended while starting: {self._last_words()}")
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.unit} was not ready within {timeout:.0f} s: see {self.log_hint()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop it and wait for its end; one that does not run is no error.

        Raises:
            Unavailable: it did not end in time.

        """
        if self.by_systemd:
            _systemctl("disable", "--now", self.unit)
            return
        pid = self.pid()
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not self.exited():
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.unit} (process {pid}) did not stop within {STOP_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        self.pid_file.unlink(missing_ok=True)

    def _last_words(self) -> str:
        if self.by_systemd:
            return f"see {self.log_hint()}"
        lines = self.log_file.read_text(errors="replace").strip().splitlines() if self.log_file.exists() else []
        return f"{lines[-1]} (log: {self.log_file})" if lines else f"it wrote nothing to {self.log_file}"


def _systemctl(*arguments: str) -> None:
    result = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Unavailable(f"systemctl {' '.join(arguments)} failed: {result.stderr.strip()}")
