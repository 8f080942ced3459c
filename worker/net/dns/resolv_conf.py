"""`resolv.conf`: the host's, read again when it changes, and one for each container, made from it (resolv.conf(5))."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common.model.container import DnsConfig
from common.net.addressing import is_address
from worker.intake.identifiers import identifier

HOST_FILE = Path("/etc/resolv.conf")
TARGET = "/etc/resolv.conf"

_HEADING = (
    "# Written by swarm-worker. It answers names of the cluster, and asks this host's name servers for all others.\n"
)
_NO_SEARCH = "."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolv.conf says."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> Resolution:
    """Read a resolv.conf; lines that say nothing to us are passed over."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        match words:
            case ["nameserver", address, *_] if is_address(address):
                nameservers.append(address)
            case ["search" | "domain", *domains]:
                search = tuple(domains)
            case ["options", *found]:
                options += found
    return Resolution(tuple(nameservers), search, tuple(options))


def render(nameserver: str, host: Resolution, own: DnsConfig | None) -> str:
    """Write a container's file. `own` is what its specification says, which goes before what the host has.

    Unless someone wants it otherwise, a name is asked for as it is before a search domain is put after it: that is how
    Docker's containers do it, and it keeps the cluster's names from being asked of the world (`ndots:0`).
    """
    own = own or DnsConfig()
    search = [domain for domain in _words(own.search or host.search) if domain != _NO_SEARCH]
    options = _words(own.options or host.options)
    if not any(option.startswith("ndots:") for option in options):
        options.append("ndots:0")
    lines = [f"nameserver {nameserver}"]
    if search:
        lines.append(f"search {' '.join(search)}")
    lines.append(f"options {' '.join(options)}")
    return _HEADING + "\n".join(lines) + "\n"


def _words(entries: Iterable[str]) -> list[str]:
    """Return the words of entries but for those that no resolver could read, as of control characters."""
    words = (word for entry in entries for word in entry.split())
    return [word for word in words if word.isascii() and word.isprintable()]


class HostResolution:
    """The host's file. `current()` is as cheap as asking the kernel whether it is still the same file."""

    def __init__(self, path: Path = HOST_FILE) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._found = Resolution()

    def current(self) -> Resolution:
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if stamp != self._stamp:
                self._found = parse(self._path.read_text(errors="replace"))
                self._stamp = stamp
        except OSError as error:
            # In the middle of being replaced, or there never was one: what it said last holds.
            _log.debug("cannot read %s: %s", self._path, error)
        return self._found


class ContainerFiles:
    """The containers' files in a folder, by task id. They are changed in place, for the containers have them bound."""

    def __init__(self, folder: Path, host: HostResolution) -> None:
        self._folder = folder
        self._host = host
        self._made: dict[str, tuple[str, DnsConfig | None]] = {}
        self._made_from: Resolution | None = None

    def write(self, task_id: str, nameserver: str, own: DnsConfig | None) -> Path:
        """Write a task's file and return where it is.

        Raises:
            OSError: it cannot be written.

        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path(task_id)
        write_in_place(path, render(nameserver, self._host.current(), own).encode())
        self._made[task_id] = (nameserver, own)
        return path

    def path(self, task_id: str) -> Path:
        """Return where a task's file is, or is to be."""
        return self._folder / identifier(task_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._made

    def adopt(self, task_id: str, own: DnsConfig | None) -> None:
        """Take note of a file from before, if the task has one."""
        try:
            found = parse(self.path(task_id).read_text(errors="replace")).nameservers
        except OSError:
            return
        if found:
            self._made[task_id] = (found[0], own)
            self._made_from = None

    def remove(self, task_id: str) -> None:
        """Repeatable."""
        self._made.pop(task_id, None)
        self.path(task_id).unlink(missing_ok=True)

    def remove_all(self) -> None:
        self._made.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def follow_host(self) -> None:
        """Write all files anew where the host's search domains or options have changed."""
        host = self._host.current()
        if host == self._made_from:
            return
        self._made_from = host
        for task_id, (nameserver, own) in list(self._made.items()):
            try:
                self.write(task_id, nameserver, own)
            except OSError as error:
                _log.warning("cannot rewrite the resolv.conf of task %s: %s", task_id, error)


def write_in_place(path: Path, content: bytes) -> None:
    """Change a file's content; a reader never sees it empty. All users of the container must be able to read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.fchmod(descriptor, 0o644)
    finally:
        os.close(descriptor)
