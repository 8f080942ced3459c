"""Messages about what tasks and hosts use: what to measure, and what was measured."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from common.wire.message import Message


class Scrape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value that containers expose: the sum of all samples named `name` at a path, in Prometheus' text format."""

    name: str
    port: int
    path: str


class Gauge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to measure of a service's tasks, every `interval` seconds."""

    service_id: str
    interval: float
    cpu: bool = False
    memory: bool = False
    metric: Scrape | None = None


class Measure(Message):
    """Measure the running tasks of these services and of no others, until told otherwise or the session ends."""

    KIND: ClassVar[int] = 70
    gauges: tuple[Gauge, ...] = ()


class TaskUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task uses: cores, on average since the measurement before; memory in bytes; its metric's value.

    None for what was not asked for, or cannot be told (yet): `error` says why.
    """

    task_id: str
    cpu: float | None = None
    memory: float | None = None
    metric: float | None = None
    error: str = ""


class Usage(Message):
    """The measurements of one round. Not confirmed: the next ones take their place."""

    KIND: ClassVar[int] = 71
    tasks: tuple[TaskUsage, ...] = ()


class MeasureHost(Message):
    """Measure the host every `interval` seconds; 0: do not. Sent to workers whose description says that they can.

    `clock`: say what the host's clock shows, too; asked of those whose description says that they can (`clock`).
    """

    KIND: ClassVar[int] = 85
    interval: float = 0.0
    clock: bool = False


class HostUsage(Message):
    """What a host uses: nothing of it is confirmed, the next one takes its place. Shares are from 0 to 1.

    `cpu` is the share of all cores that was busy since the measurement before; None for the first. `received` and
    `sent` are bytes of the host's own interfaces since its start. `disk_…` are of where the engine keeps its data. Of
    pressure (Linux' PSI) it is the share of the last ten seconds in which something waited; None where the kernel does
    not tell. `clock` is what the host's clock shows (Unix seconds), 0 where that was not asked for.
    """

    KIND: ClassVar[int] = 86
    cpu: float | None = None
    memory_total: int = 0
    memory_available: int = 0
    disk_total: int = 0
    disk_available: int = 0
    received: int = 0
    sent: int = 0
    pressure_cpu: float | None = None
    pressure_memory: float | None = None
    pressure_io: float | None = None
    clock: float = 0.0
