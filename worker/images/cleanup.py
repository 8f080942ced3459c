"""Cleaning up images that were fetched from other workers, when nobody has used them for long.

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
from common.process.private_files import write_private
from common.wire.allowances import fitting
from common.wire.image_messages import SpareImages
from worker.interfaces.engine import Engine
from worker.link.requests import Requests

DAY_SECONDS = 86_400
LOOK_SECONDS = 3600.0
_log = logging.getLogger(__name__)


class Fetched(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an image was last used (Unix seconds), and what this engine knows it as, if not by its id."""

    used: float
    name: str = ""


class FetchedImages:
    """The images that were fetched, by the ids of where they came from: a file, so that it outlives the agent.

    An engine with another kind of image store gives the same image another id; which, only this file tells.

    `keep`: seconds after the last use; 0 keeps them for ever.
    """

    def __init__(self, path: Path, engine: Engine, requests: Requests, clock: Clock, keep: float) -> None:
        self._path = path
        self._engine = engine
        self._requests = requests
        self._clock = clock
        self._keep = keep
        self._known = _load(path)

    def note(self, image_id: str, name: str) -> None:
        """Hear that an image was fetched, and what the engine here knows it as."""
        self._known[image_id] = Fetched(self._clock.now(), "" if name == image_id else name)
        self._save()

    def name(self, image_id: str) -> str:
        """Return the id under which this engine has an image, where that differs from the image's; else empty."""
        known = self._known.get(image_id)
        return known.name if known is not None else ""

    async def run(self, wanted: Callable[[], Collection[str]]) -> None:
        """Look every hour until cancelled; `wanted` returns the ids of the images of this host's tasks."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look(wanted())
            except SwarmError as error:
                _log.warning("cannot remove unused images: %s", error.message)

    async def look(self, wanted: Collection[str]) -> None:
        """Remove what has not been wanted for long."""
        now = self._clock.now()
        for image_id in self._known.keys() & wanted:
            self._known[image_id] = Fetched(now, self._known[image_id].name)
        if self._keep:
            old = [image_id for image_id, known in self._known.items() if now - known.used > self._keep]
            await self._clear(fitting(old))  # in one message; what is more goes the next time
        self._save()

    async def _clear(self, old: Collection[str]) -> None:
        if not old:
            return
        for image_id in (await self._requests.spared(SpareImages(image_ids=tuple(old)))).image_ids:
            if image_id in old and await self._engine.remove_image(self.name(image_id) or image_id):
                del self._known[image_id]
                _log.info("image %s, fetched and no longer used, is removed", image_id)

    def _save(self) -> None:
        try:
            write_private(self._path, msgspec.json.encode(self._known))
        except OSError as error:
            _log.warning("cannot note which images were fetched: %s", error)


def _load(path: Path) -> dict[str, Fetched]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Fetched])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("cannot read %s: %s; images that were fetched before are kept", path, error)
        return {}
