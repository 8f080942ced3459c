"""A backend that keeps what it was given in memory: for tests and the simulation, where a manager restarts from it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from common.model import StoredObject
from manager.store.backend import Loaded
from manager.store.changes import ChangeSet

_CHANGES_OF_COMMIT = 20_000


class MemoryBackend:
    """Durable for as long as the object lives. `delay` is how long a commit takes, in (virtual) seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self._delay = delay
        self._index = 0
        self._objects: dict[tuple[type, str], StoredObject] = {}

    async def load(self) -> Loaded:
        return Loaded(self._index, tuple(self._objects.values()))

    def share_of_commit(self, change_set: ChangeSet) -> float:
        return len(change_set.changes) / _CHANGES_OF_COMMIT

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        await asyncio.sleep(self._delay)
        for change_set in change_sets:
            for change in change_set.changes:
                key = (type(change.current), change.current.id)
                if change.new is None:
                    self._objects.pop(key, None)
                else:
                    self._objects[key] = change.new
            self._index = change_set.index

    async def close(self) -> None:
        """Keep everything, for the next `load`."""
