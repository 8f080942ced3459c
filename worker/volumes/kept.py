"""Anonymous volumes of tasks that have ended: the last of each slot are kept for some days.

A typing error in a path, and a container's data is in a volume that nobody has named. The engine would remove it with
the container, and a service that was scaled to 0 for a moment would have lost it (moby/moby#37517). Such a volume gets
a mark that says whose it was and since when it is kept, so nothing else is ever taken for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from random import Random

from common.clock import Clock
from common.errors import SwarmError
from common.model.volume import new_lineage
from common.spec.volumes import is_anonymous
from worker.interfaces.engine import Container, Engine
from worker.interfaces.volumes import Mark, Marks

KEPT_SECONDS = 7 * 86400.0
SWEEP_SECONDS = 600.0

_log = logging.getLogger(__name__)


class KeptVolumes:
    """Keeps anonymous volumes until their slot has newer ones, or for `KEPT_SECONDS`."""

    def __init__(self, engine: Engine, marks: Marks, clock: Clock, rng: Random) -> None:
        self._engine = engine
        self._marks = marks
        self._clock = clock
        self._rng = rng
        self._news = asyncio.Event()

    async def keep(self, owner: str, container: Container) -> bool:
        """Mark a container's anonymous volumes, as it is to be removed; `owner` is what its slot is called.

        Returns whether the container is to be removed without its volumes.
        """
        now, marked = self._clock.now(), False
        for name in container.anonymous_volumes:
            volume = await self._engine.volume(name)
            if volume is not None:
                mark = Mark(new_lineage(self._rng), 1, kept_of=owner, kept_since=now)
                marked = await self._marks.write(volume, mark) or marked
                _log.info("anonymous volume %s of %s is kept for a week, or until its next one", name, owner)
        if marked:
            self._news.set()
        return marked

    async def run(self) -> None:
        """Sweep every `SWEEP_SECONDS`, and when a volume was kept, until cancelled."""
        while True:
            self._news.clear()
            try:
                await self.sweep()
            except SwarmError as error:
                _log.warning("cannot look for anonymous volumes that need not be kept: %s", error.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._news.wait()

    async def sweep(self) -> None:
        """Remove what is older than its slot's last ones, or than `KEPT_SECONDS`; nothing that a container has."""
        found: list[tuple[str, Mark]] = []
        for volume in await self._engine.volumes():
            mark = await self._marks.read(volume) if is_anonymous(volume.name) else None
            if mark is not None and mark.kept_of:
                found.append((volume.name, mark))
        newest: dict[str, float] = {}
        for _, mark in found:
            newest[mark.kept_of] = max(mark.kept_since, newest.get(mark.kept_of, 0.0))
        oldest = self._clock.now() - KEPT_SECONDS
        for name, mark in found:
            needless = mark.kept_since < max(newest[mark.kept_of], oldest)
            if needless and not await self._engine.mounting(name):
                _log.info("anonymous volume %s of %s is not kept any longer", name, mark.kept_of)
                await self._engine.remove_volume(name)
