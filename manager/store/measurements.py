"""What workers measured of the tasks of autoscaled services: observations, in memory only; a new manager has none."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from common.clock import Clock
from common.spec import autoscale
from common.wire.usage_messages import TaskUsage
from manager.store.view import View

# A measurement is worth nothing when so many that should have followed it did not come.
_MISSED = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """The last measurement of a task. `at` is when it came, by the manager's clock; `usage` what its worker said."""

    at: float
    usage: TaskUsage


class Measurements:
    """The last sample of each measured task, for as long as the task is there. `heard` names whose tasks had news."""

    def __init__(self, view: View, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._samples: dict[str, dict[str, Sample]] = {}
        self._news: dict[str, None] = {}
        self._any = asyncio.Event()

    def take(self, node_id: str, usages: Iterable[TaskUsage]) -> None:
        """Take what a node says of its own tasks; what it says of others is not listened to."""
        now = self._clock.now()
        for usage in usages:
            task = self._view.tasks.get(usage.task_id)
            service = self._view.services.get(task.service_id) if task is not None else None
            if task is None or task.node_id != node_id or service is None or autoscale.LABEL not in service.spec.labels:
                continue
            self._samples.setdefault(service.id, {})[task.id] = Sample(now, usage)
            self._news[service.id] = None
            self._any.set()

    async def heard(self) -> Collection[str]:
        """Wait for measurements, and name the services that they are of."""
        await self._any.wait()
        self._any.clear()
        news, self._news = self._news, {}
        for service_id in [each for each in self._samples if each not in self._view.services]:
            del self._samples[service_id]
        return news

    def fresh(self, service_id: str, interval: float) -> Mapping[str, Sample]:
        """Return the samples of a service's tasks, by task, that are not out of date; forget the others."""
        oldest = self._clock.now() - _MISSED * interval
        samples = self._samples.get(service_id, {})
        for task_id in [task_id for task_id, sample in samples.items() if sample.at < oldest]:
            del samples[task_id]
        return samples
