"""Where the store is durable: `manager.store.backends` has the ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from common.model import StoredObject
from manager.store.changes import ChangeSet


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a backend held: every object, and the index of the last change."""

    index: int
    objects: Sequence[StoredObject]


class Backend(Protocol):
    async def load(self) -> Loaded:
        """Read everything.

        Raises:
            Unavailable: the storage cannot be read; the message says which and why.

        """

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        """Make the change sets durable, all or none; returns only when they are.

        Raises:
            Unavailable: nothing was stored (a full disk, say); the message says why.

        """

    async def close(self) -> None: ...
