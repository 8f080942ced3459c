"""Messages about what tasks use: what to measure, and what was measured."""

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
