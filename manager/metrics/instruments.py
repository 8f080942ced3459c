"""What this manager measures of itself as it works: histograms and counters, each counted where it happens.

How late the event loop is shows what holds it: timers come late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

# As Docker's daemon has them, so that boards made for it show the same.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# What holds up the loop is shorter, and of a task's way from NEW to RUNNING much is a pull.
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Instruments:
    """All of them, in a `registry` of their own. They may be used from any thread."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._scheduling = self._histogram(
            "swarm_dispatcher_scheduling_delay_seconds", "From a task's creation until it was heard to run.", LONG
        )
        self._store_write = self._histogram(
            "swarm_store_write_tx_latency_seconds", "From the request for a change until it is on disk.", SECONDS
        )
        self._assignment = self._histogram(
            "swarm_assignment_delay_seconds", "From when a worker was sent assignments until it had applied them.", LONG
        )
        self._loop_lag = self._histogram("swarm_loop_lag_seconds", "How late the event loop's timers were.", SHORT)
        self._decide = self._histogram("swarm_decide_seconds", "A decision of a rule.", SHORT, "rule")
        self._decide_failures = self._counter("swarm_decide_failures", "Decisions that met a bug.", "rule")
        self._lagged = self._counter("swarm_watch_lagged", "Times that a watcher lost changes.", "watcher")
        self._audit_failures = self._counter("swarm_audit_failures", "Entries that the audit log's file lacks.")
        self._image_bytes = self._counter("swarm_image_bytes", "Bytes of images that went through this manager.")
        self._requests = self._counter("swarm_api_requests", "Requests that were answered.", "method", "route", "code")
        self._request_seconds = self._histogram(
            "swarm_api_request_seconds", "From a request's body until its answer begins.", SECONDS, "kind"
        )
        self._streams = Gauge(
            "swarm_streams_open", "Answers that go on until their client leaves.", ["kind"], registry=self.registry
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def task_ran(self, seconds: float) -> None:
        """Count a task that came to run."""
        self._scheduling.observe(seconds)

    def written(self, seconds: float) -> None:
        """Count a transaction that is on disk."""
        self._store_write.observe(seconds)

    def assigned(self, seconds: float) -> None:
        """Count assignments that a worker has applied."""
        self._assignment.observe(seconds)

    def lagged(self, seconds: float) -> None:
        """Count how late a timer of the event loop was."""
        self._loop_lag.observe(seconds)

    def decided(self, rule: str, seconds: float) -> None:
        self._decide.labels(rule).observe(seconds)
        self._decide_failures.labels(rule)  # there before the first: what is not there from 0 on has no increase

    def decide_failed(self, rule: str) -> None:
        self._decide_failures.labels(rule).inc()

    def fell_behind(self, watcher: str) -> None:
        """Count that a watcher of the store lost changes, and read everything again."""
        self._lagged.labels(watcher).inc()

    def unwritten(self, entries: int) -> None:
        """Count entries that the audit log's file lacks."""
        self._audit_failures.inc(entries)

    def relayed(self, size: int) -> None:
        """Count bytes of an image on their way between workers that do not reach each other."""
        self._image_bytes.inc(size)

    def answered(self, method: str, route: str, code: str, seconds: float) -> None:
        """Count a request; `route` is a pattern, so that there are as many series as there are routes."""
        self._requests.labels(method, route, code).inc()
        self._request_seconds.labels("read" if method in ("GET", "HEAD") else "change").observe(seconds)

    def streams(self, kind: str, count: int) -> None:
        self._streams.labels(kind).set(count)


EVERY_SECONDS = 0.1


async def measure_lag(lagged: Callable[[float], None]) -> None:
    """Tell how late a timer was, ten times a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        lagged(max(0.0, loop.time() - due))
