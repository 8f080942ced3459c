"""Autoscaling: each round of measurements of an autoscaled service is evaluated, and may scale it.

The windows are in memory: a new leader fills them again, and removes no task before. What must outlive it, above all
that a number was chosen by hand, is in the store: `Service.autoscale_status`.
"""

from __future__ import annotations

import logging
from collections import deque

from common.clock import Clock
from common.errors import Unavailable
from common.model import Service
from common.spec import autoscale
from common.spec.autoscale import Policy
from manager.orchestrate.autoscaling import Recommendation, Scaling, choose, measure, recommend
from manager.store.measurements import Measurements
from manager.store.store import Store
from manager.store.transaction import Transaction

# After a pause of so many rounds earlier recommendations no longer count.
_PAUSE = 3
# Nodes measure at different moments: a round is over after this share of its interval.
_ROUND = 0.9

_log = logging.getLogger("manager.loops.autoscaling")


class Autoscaling:
    """Scales services by the measurements of their tasks, until cancelled."""

    def __init__(self, store: Store, measurements: Measurements, clock: Clock) -> None:
        self._store = store
        self._measurements = measurements
        self._clock = clock
        self._leads_since = clock.now()
        self._histories: dict[str, deque[Recommendation]] = {}

    async def run(self) -> None:
        while True:
            for service_id in await self._measurements.heard():
                try:
                    await self._scale_service(service_id)
                except Unavailable as error:
                    _log.error("could not store the number of tasks: %s", error.message)
                except Exception:  # noqa: BLE001 - a bug with one service must not end the loop; it is logged whole
                    _log.exception("cannot scale service %s: trying again with its next measurements", service_id)
            self._forget()

    async def _scale_service(self, service_id: str) -> None:
        """Evaluate a service once per round, and scale it if necessary."""
        service = self._store.view.services.get(service_id)
        policy = autoscale.of(service.spec) if service is not None and not service.pending_delete else None
        if service is None or policy is None:
            return
        history = self._history(service, policy)
        now = self._clock.now()
        if history and now - history[-1].at < _ROUND * policy.interval:
            return
        samples = self._measurements.fresh(service.id, policy.interval)
        loads = measure(service, policy, self._store.view.tasks.of_service(service.id), samples, now)
        if (seen := recommend(service, loads, now)) is None:
            return
        history.append(seen)
        if (scaling := choose(service, policy, history, now, self._leads_since)) is not None:
            await self._store.update(lambda tx: _store_scaling(tx, service, scaling, now))
            _log.info("%s: %s", service.name, scaling.message)

    def _history(self, service: Service, policy: Policy) -> deque[Recommendation]:
        """Return the recommendations that still count: those of the windows, and the one before these."""
        now = self._clock.now()
        history = self._histories.setdefault(service.id, deque())
        if history and now - history[-1].at > _PAUSE * policy.interval:
            history.clear()
        while len(history) > 1 and history[1].at <= now - max(policy.up, policy.down):
            history.popleft()
        return history

    def _forget(self) -> None:
        """Forget services that are gone or no longer autoscaled."""
        autoscaled = {service.id for service in self._store.view.services.autoscaled()}
        for service_id in self._histories.keys() - autoscaled:
            del self._histories[service_id]


def _store_scaling(tx: Transaction, seen: Service, scaling: Scaling, now: float) -> None:
    """Store the number, unless the service was changed meanwhile; this makes no revision."""
    service = tx.services.get(seen.id)
    if service is not None and service.version == seen.version:
        tx.put(autoscale.scale_to(service, scaling.replicas, scaling.message, now))
