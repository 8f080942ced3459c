"""Autoscaling in its own words: what load there is, how many tasks that takes, and when their number may change."""

from __future__ import annotations

import math
from collections.abc import Iterator

from common.clock import Clock
from common.model import Service
from manager.store.changes import ChangeSet
from tests.sim.placement import Complaint

LABEL = "swarm.x.autoscale"
# What a task is to have of the load: half of the core that it reserves, or the metric's target.
TARGET = 0.5
UP, DOWN = 2.0, 10.0
POLICIES = tuple(
    f"min={least},max={most},{what},up={UP:g}s,down={DOWN:g}s"
    for least, most in ((1, 5), (2, 6))
    for what in ("cpu=50%", "metric=busy,port=80,target=0.5")
)
# A measurement that still counts may be so old, at three intervals of a second each.
_STALE = 4.0
# A load that lasts as long is seen by every worker.
_SEEN = 5.0
_LAG = 0.5


class Loads:
    """The load on each service over time, which all of its tasks that serve share; None while it cannot be measured."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels: dict[str, list[tuple[float, float]]] = {}
        self.measurable = True

    def put(self, service_id: str, level: float) -> None:
        self._levels.setdefault(service_id, []).append((self._clock.now(), level))

    def known(self, service_id: str) -> bool:
        return service_id in self._levels

    def now(self, service_id: str) -> float:
        return self._levels[service_id][-1][1] if self.known(service_id) else 0.0

    def during(self, service_id: str, since: float, until: float, least: float = 0.0) -> list[float]:
        """Return the levels of a time that lasted at least so long in it."""
        levels = self._levels[service_id]
        ends = [*(at for at, _ in levels[1:]), until]
        spans = zip(levels, ends, strict=True)
        return [level for (at, level), end in spans if min(end, until) - max(at, since) >= least]


class Scaled:
    """Watches the numbers of autoscaled services. `running_since` is to be set with each start of a manager."""

    def __init__(self, loads: Loads) -> None:
        self._loads = loads
        self.running_since = 0.0
        self._by_hand: dict[str, tuple[float, bool]] = {}

    def look(self, changes: ChangeSet, now: float) -> Iterator[Complaint]:
        for change in changes.changes:
            old, new = change.old, change.new
            if isinstance(new, Service) and LABEL in new.spec.labels and not new.pending_delete:
                yield from ((f"{new.id} {wrong}", []) for wrong in self._number(old, new, now))

    def _number(self, old: object, new: Service, now: float) -> Iterator[str]:
        least, most = limits(new)
        count = _count(new)
        if not least <= count <= most:
            yield f"is to have {count} tasks, {least} to {most} are allowed"
        if not isinstance(old, Service) or old.spec.labels.get(LABEL) != new.spec.labels[LABEL] or count == _count(old):
            return
        status, more = new.autoscale_status, count > _count(old)
        if (
            status is None
            or status == old.autoscale_status
            or (status.previous, status.replicas) != (_count(old), count)
        ):
            yield f"gets {count} tasks instead of {_count(old)}, and says {status}"
        elif status.by_hand:
            self._by_hand[new.id] = now, more
        else:
            yield from self._chosen(new, count, more, now)

    def _chosen(self, new: Service, count: int, more: bool, now: float) -> Iterator[str]:
        at, raised = self._by_hand.get(new.id, (-DOWN, more))
        if now < at + DOWN - _LAG and raised != more:
            yield f"takes back at {now} what was chosen by hand at {at}"
        if not self._loads.known(new.id):
            return
        least, most = limits(new)
        if more:
            needed = max(map(tasks_for, self._loads.during(new.id, now - UP - _STALE, now)), default=0)
            if count > max(needed, least):
                yield f"is given {count} tasks, and never needed more than {needed}"
            return
        if now < self.running_since + DOWN - _LAG:
            yield f"is given {count} tasks by a manager that runs since {self.running_since}"
        needed = max(map(tasks_for, self._loads.during(new.id, now - DOWN, now - 1.0, _SEEN)), default=0)
        if count < min(needed, most):
            yield f"is left {count} tasks, and needed {needed} less than {DOWN:g} s ago"


def settled(service: Service, load: float) -> bool:
    """Whether a service that was left alone under a load has as many tasks as that takes, give or take a tenth."""
    least, most = limits(service)
    count, needed = _count(service), tasks_for(load)
    return count == min(max(needed, least), most) or abs(load / TARGET / count - 1) <= 0.1


def tasks_for(load: float) -> int:
    return math.ceil(load / TARGET - 1e-6)


def limits(service: Service) -> tuple[int, int]:
    said = dict(item.split("=", 1) for item in service.spec.labels[LABEL].split(","))
    return int(said["min"]), int(said["max"])


def _count(service: Service) -> int:
    mode = service.spec.mode.replicated
    return 1 if mode is None or mode.replicas is None else mode.replicas
