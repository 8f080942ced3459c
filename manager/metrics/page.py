"""The page that Prometheus reads: made in a thread, at most once a second for all who ask."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from manager.metrics.facts import Facts
from manager.metrics.families import Families
from manager.metrics.instruments import Instruments
from manager.metrics.vitals import ReadVitals

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
KEPT_SECONDS = 1.0
# Most of a page repeats itself: more effort saves little.
_EFFORT = 1


@dataclass(frozen=True, slots=True)
class Page:
    """A page as text, and packed with gzip."""

    text: bytes
    packed: bytes


def make_page(facts: Facts, instruments: Instruments, vitals: ReadVitals) -> Page:
    """Write the page. That takes its time: it is called in a thread."""
    registry = CollectorRegistry()
    registry.register(Families(facts, vitals()))
    text = generate_latest(registry) + generate_latest(instruments.registry)
    return Page(text, gzip.compress(text, _EFFORT))


class Pages:
    """Hands out pages. `gather` is called on the event loop, and takes what a page is made of in one breath."""

    def __init__(self, gather: Callable[[], Facts], instruments: Instruments, vitals: ReadVitals) -> None:
        self._gather = gather
        self._instruments = instruments
        self._vitals = vitals
        self._made: asyncio.Task[Page] | None = None
        self._made_at = 0.0

    async def take(self) -> Page:
        """Return a page that is not older than `KEPT_SECONDS`."""
        now = asyncio.get_running_loop().time()
        if self._made is None or (self._made.done() and now - self._made_at >= KEPT_SECONDS):
            self._made_at = now
            self._made = asyncio.create_task(self._make(), name="metrics-page")
        return await asyncio.shield(self._made)

    async def _make(self) -> Page:
        return await asyncio.to_thread(make_page, self._gather(), self._instruments, self._vitals)
