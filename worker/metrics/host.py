"""What this host uses: read from the kernel's files at the interval that the manager wants."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from common.clock import Clock, SystemClock
from common.wire.usage_messages import HostUsage, MeasureHost
from worker.metrics.kernel_files import parse_net_dev

_KIB = 1024
# Links that are made of others, or lead into containers: their traffic is counted on the host's own links already.
_INNER = re.compile(r"lo|veth.*|docker.*|br-.*|virbr.*|cni.*|swarm.*|orc-.*|oc-.*|vx.*|wg.*|ifb.*|dummy.*|bond.*|tun.*")
_SOME = re.compile(r"^some avg10=([0-9.]+)", re.MULTILINE)
_PERCENT = 100.0
# A manager that asks for measurements more often gets them at this interval.
LEAST_SECONDS = 1.0

Read: TypeAlias = Callable[["Busy | None", str], Awaitable[tuple[HostUsage, "Busy"]]]

_SYSTEM = SystemClock()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Busy:
    """Time that all cores were busy, and all the time that there was, in ticks since the host's start."""

    busy: int
    all: int

    def share_since(self, before: Busy | None) -> float | None:
        """Return the share of the time since `before` that the cores were busy, from 0 to 1."""
        if before is None or self.all <= before.all:
            return None
        return min(1.0, max(0.0, (self.busy - before.busy) / (self.all - before.all)))


def measure(before: Busy | None, disk: str, proc: Path = Path("/proc")) -> tuple[HostUsage, Busy]:
    """Read what the host uses, with the counter for the next time. `disk` is a path on the disk that is of interest.

    Raises:
        OSError, ValueError: the kernel's files are not there, or not as they should be.

    """
    busy = parse_stat((proc / "stat").read_text())
    memory = parse_meminfo((proc / "meminfo").read_text())
    received, sent = parse_net((proc / "net" / "dev").read_text())
    usage = HostUsage(
        cpu=busy.share_since(before),
        memory_total=memory["MemTotal"],
        memory_available=memory["MemAvailable"],
        received=received,
        sent=sent,
        pressure_cpu=_pressure(proc / "pressure" / "cpu"),
        pressure_memory=_pressure(proc / "pressure" / "memory"),
        pressure_io=_pressure(proc / "pressure" / "io"),
    )
    return _with_disk(usage, disk), busy


def _with_disk(usage: HostUsage, path: str) -> HostUsage:
    """Return the usage with that of the disk, where this can be told from here."""
    if not path or not Path(path).is_dir():
        return usage
    found = os.statvfs(path)
    return msgspec.structs.replace(
        usage, disk_total=found.f_blocks * found.f_frsize, disk_available=found.f_bavail * found.f_frsize
    )


def _pressure(file: Path) -> float | None:
    """Read a file of the kernel's pressure, which not every kernel has."""
    try:
        return parse_pressure(file.read_text())
    except OSError:
        return None


def parse_stat(text: str) -> Busy:
    """Read `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already."""
    numbers = [int(each) for each in text.splitlines()[0].split()[1:9]]
    idle = sum(numbers[3:5])
    return Busy(sum(numbers) - idle, sum(numbers))


def parse_meminfo(text: str) -> Mapping[str, int]:
    """Read `/proc/meminfo`, in bytes."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: int(value.split()[0]) * _KIB for name, _, value in lines if value}


def parse_net(text: str) -> tuple[int, int]:
    """Read `/proc/net/dev`: bytes that the host's own interfaces have received and sent."""
    return parse_net_dev(text, lambda link: _INNER.fullmatch(link) is None)


def parse_pressure(text: str) -> float | None:
    """Read a file of `/proc/pressure`: the share of the last ten seconds in which some task waited, from 0 to 1."""
    found = _SOME.search(text)
    return min(1.0, float(found[1]) / _PERCENT) if found is not None else None


async def read_host(before: Busy | None, disk: str) -> tuple[HostUsage, Busy]:
    """Read what the host uses, beside the event loop; errors as `measure`."""
    return await asyncio.to_thread(measure, before, disk)


class HostMeter:
    """Measures the host as often as a manager wants it.

    disk: returns a path on the disk where the engine keeps its data, empty while that is not known.
    read: reads what the host uses, as `read_host`.
    clock: the host's, which a manager may want to know.
    """

    def __init__(self, disk: Callable[[], str], read: Read = read_host, clock: Clock = _SYSTEM) -> None:
        self._disk = disk
        self._read = read
        self._clock = clock
        self._says_clock = False
        self._interval = 0.0
        self._due = 0.0
        self._before: Busy | None = None
        self._wanted = asyncio.Event()
        self._failed = False

    def order(self, message: MeasureHost) -> None:
        """Measure so often from now on, or not at all."""
        self._interval = max(message.interval, LEAST_SECONDS) if message.interval > 0 else 0.0
        self._says_clock = message.clock
        self._due = asyncio.get_running_loop().time()
        if self._interval:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def take(self) -> HostUsage:
        """Wait until a measurement is due, and return it; for ever, while none is wanted."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._due - asyncio.get_running_loop().time())
            if not self._interval:
                continue
            self._due = asyncio.get_running_loop().time() + self._interval
            if (usage := await self._measured()) is not None:
                return usage

    async def _measured(self) -> HostUsage | None:
        try:
            usage, self._before = await self._read(self._before, self._disk())
        except (OSError, ValueError, KeyError, IndexError) as error:
            if not self._failed:
                _log.warning("what this host uses cannot be told: %s", error)
            self._failed = True
            return None
        self._failed = False
        return msgspec.structs.replace(usage, clock=self._clock.now()) if self._says_clock else usage
