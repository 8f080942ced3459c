"""Images that were fetched from other workers are removed again, when nobody has used them for long.

Only what this worker fetched itself is ever removed, never what somebody built, loaded or pulled here; never one that
has got a name here, that a container uses, or that a service of the cluster still names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from common.clock import Clock
from common.errors import SwarmError
from common.tls import write_private
from common.wire.image_messages import SpareImages
from worker.ports import Engine
from worker.questions import Questions

DAY_SECONDS = 86_400
LOOK_SECONDS = 3600.0
# In one message; what is more goes the next time.
_AT_ONCE = 1000

_log = logging.getLogger(__name__)


class FetchedImages:
    """The images that were fetched, and when each was last used: a file, so that it outlives the agent.

    `keep`: seconds after the last use; 0 keeps them for ever.
    """

    def __init__(self, path: Path, engine: Engine, questions: Questions, clock: Clock, keep: float) -> None:
        self._path = path
        self._engine = engine
        self._questions = questions
        self._clock = clock
        self._keep = keep
        self._used = _load(path)

    def note(self, image_id: str) -> None:
        """Hear that an image was fetched."""
        self._used[image_id] = self._clock.now()
        self._save()

    async def run(self, wanted: Callable[[], Collection[str]]) -> None:
        """Look every hour, until cancelled. `wanted` gives the images of the tasks on this host."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look(wanted())
            except SwarmError as error:
                _log.warning("cannot clear images away: %s", error.message)

    async def look(self, wanted: Collection[str]) -> None:
        """Remove what has not been wanted for long."""
        now = self._clock.now()
        self._used = {image_id: now if image_id in wanted else used for image_id, used in self._used.items()}
        if self._keep:
            old = [image_id for image_id, used in self._used.items() if now - used > self._keep]
            await self._clear(old[:_AT_ONCE])
        self._save()

    async def _clear(self, old: Collection[str]) -> None:
        if not old:
            return
        for image_id in (await self._questions.spared(SpareImages(image_ids=tuple(old)))).image_ids:
            if image_id in old and await self._engine.remove_image(image_id):
                del self._used[image_id]
                _log.info("image %s, fetched and not used any more, is removed", image_id)

    def _save(self) -> None:
        try:
            write_private(self._path, msgspec.json.encode(self._used))
        except OSError as error:
            _log.warning("cannot note which images were fetched: %s", error)


def _load(path: Path) -> dict[str, float]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, float])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("cannot read %s: %s; images that were fetched before are kept for ever", path, error)
        return {}
