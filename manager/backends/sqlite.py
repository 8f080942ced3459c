"""The store in one SQLite file, by one writer thread.

What was secret and is removed or replaced is overwritten, in the file and in its log, before the commit's caller hears
of it. A store that is not whole is refused and left as it is (`contents`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from manager.backends.failures import explaining
from manager.backends.storefile import StoreFile
from manager.state.backend import Loaded
from manager.state.changes import ChangeSet

R = TypeVar("R")

# While something else reads the store its log cannot be emptied: a backup takes about a second.
_ERASE_AGAIN_SECONDS = 1.0


class SqliteBackend:
    """The file at `path`; one process at a time may have it open. `fresh`: as `StoreFile` has it."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        self._file = StoreFile(path, fresh=fresh)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._erasing: asyncio.Task[None] | None = None

    async def load(self) -> Loaded:
        loaded = await self._in_thread(self._file.open)
        self._see_to_erasure()
        return loaded

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        await self._in_thread(lambda: self._file.commit(change_sets))
        self._see_to_erasure()

    async def close(self) -> None:
        if self._erasing is not None:
            self._erasing.cancel()
            await asyncio.wait([self._erasing])
        await self._in_thread(self._file.close)
        self._thread.shutdown(wait=False)

    def _see_to_erasure(self) -> None:
        if self._file.unerased and (self._erasing is None or self._erasing.done()):
            self._erasing = asyncio.create_task(self._erase(), name="store-erasing")

    async def _erase(self) -> None:
        while self._file.unerased:
            await asyncio.sleep(_ERASE_AGAIN_SECONDS)
            await self._in_thread(self._file.erase_log)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        """Run `work` in the writer's thread, to its end even when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        with explaining(self._path):
            return await asyncio.shield(loop.run_in_executor(self._thread, work))
