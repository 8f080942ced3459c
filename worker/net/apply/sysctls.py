"""The kernel's settings: set, checked, and those of the whole host put back when the worker leaves."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from common.process.private_files import write_private
from worker.net.plan.names import BRIDGE_PREFIX

PROC = Path("/proc/sys")
# Settings of links: they disappear with our links.
_OF_LINKS = ("net/ipv4/conf/", "net/ipv4/neigh/", f"net/ipv6/conf/{BRIDGE_PREFIX}")
_LONGEST = 4096

_log = logging.getLogger(__name__)


class Sysctls:
    """Applies settings by path below /proc/sys; `memory` keeps what the host had before, over restarts."""

    def __init__(self, memory: Path, proc: Path = PROC) -> None:
        self._memory = memory
        self._proc = proc
        self._refused: set[str] = set()

    def apply(self, wanted: Mapping[str, str]) -> tuple[str, ...]:
        """Set what differs, and return it in words. A link's settings wait for the link; a refusal is logged once."""
        changed = []
        for path, value in wanted.items():
            there = self._read(path)
            if there is not None and there != value and self._remember(path, there) and self._write(path, value):
                changed.append(f"{path.replace('/', '.')} was {there}")
        return tuple(changed)

    def restore(self) -> None:
        """Put back what the host had. Repeatable."""
        for path, value in self._remembered().items():
            if self._read(path) is not None:
                self._write(path, value)
        self._memory.unlink(missing_ok=True)

    def _read(self, path: str) -> str | None:
        """Read one setting, by the shortest way: all of them are read every second."""
        try:
            descriptor = os.open(f"{self._proc}/{path}", os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return os.read(descriptor, _LONGEST).decode().strip()
        except FileNotFoundError:
            return None  # its link has gone since it was opened
        finally:
            os.close(descriptor)

    def _write(self, path: str, value: str) -> bool:
        try:
            (self._proc / path).write_text(value)
        except OSError as error:
            self._refuse(path, f"to {value}: {error.strerror}")
            return False
        self._refused.discard(path)
        return True

    def _remember(self, path: str, value: str) -> bool:
        """Record what the host had; return False where that is not possible, so that it must not be changed."""
        if path.startswith(_OF_LINKS):
            return True  # it goes with the link
        remembered = self._remembered()
        if path in remembered:
            return True
        try:
            write_private(self._memory, msgspec.json.encode({**remembered, path: value}))
        except OSError as error:
            self._refuse(path, f"as {self._memory} cannot record its previous value {value}: {error.strerror}")
            return False
        return True

    def _refuse(self, path: str, why: str) -> None:
        if path not in self._refused:
            _log.warning("cannot set %s %s", path.replace("/", "."), why)
        self._refused.add(path)

    def _remembered(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            _log.warning("%s cannot be read (%s): leaving will not put back what it held", self._memory, error)
            return {}
