"""This manager's keys in its files: locked or open at the start, and locked again when the cluster's lock changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from common.errors import Unavailable
from common.model import Cluster
from common.process.private_files import erase_replaced
from manager.ca.files import ManagerFiles
from manager.ca.keyring import KeyFile, Keyring, Locked
from manager.ca.migration import load_keyring
from manager.config import DataDir
from manager.store.store import Store
from manager.store.watch import Lagged

# When the files could not be written: as with a renewed certificate, a full disk is what a person has to see to.
AGAIN_SECONDS = 10.0

_log = logging.getLogger(__name__)


class ManagerKeys:
    """The keys of a data directory. Locked ones must be unlocked before anything else can start."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._keyring: Keyring | None = None
        self._unlocked = asyncio.Event()
        self._serving = asyncio.Event()

    def load(self) -> bool:
        """Read them; return whether they are open.

        Raises:
            Unavailable: the file is missing, damaged, or cannot be read or made.

        """
        try:
            for file in (self._data.key, ManagerFiles(self._data.path).node.node):
                erase_replaced(file)  # what an interrupted change of the lock has left
            self._open(load_keyring(self._data))
        except Locked:
            return False
        except OSError as error:
            raise Unavailable(f"cannot write {self._data.key}: {error.strerror}: check its disk") from error
        return True

    @property
    def keyring(self) -> Keyring:
        assert self._keyring is not None, "they are unlocked first"
        return self._keyring

    @property
    def files(self) -> ManagerFiles:
        """The files of this manager's certificate, as they are locked now."""
        return ManagerFiles(self._data.path, self.keyring.unlock_key)

    @property
    def locked(self) -> bool:
        """Whether nothing of the cluster can be answered yet."""
        return not self._serving.is_set()

    def serve(self) -> None:
        """Note that the cluster's own API answers from now on."""
        self._serving.set()

    async def opened(self) -> None:
        """Wait until somebody has unlocked them."""
        await self._unlocked.wait()

    async def unlock(self, unlock_key: str) -> None:
        """Open locked keys, and wait until the manager serves.

        Raises:
            InvalidArgument: it is not the key.

        """
        self._open(KeyFile(self._data.key).load(unlock_key))
        _log.info("unlocked by a client")
        await self._serving.wait()

    def relock(self, cluster: Cluster) -> None:
        """Lock this manager's files with the cluster's present unlock key, or none; an earlier one becomes useless.

        Raises:
            Unavailable: they cannot be written. What was written stays, and the next start takes either.

        """
        if self._keyring is None or self._keyring.unlock_key == cluster.unlock_key:
            return
        keyring = self._keyring.locked_with(cluster.unlock_key)
        try:
            KeyFile(self._data.key).save(keyring)
            self.files.node.change_password(cluster.unlock_key)
        except OSError as error:
            raise Unavailable(
                f"this manager's keys could not be written ({error.strerror}): they are locked as before; check the "
                f"disk of {self._data.path}"
            ) from error
        self._keyring = keyring
        _log.info("the keys in %s are %s now", self._data.path, "locked" if cluster.unlock_key else "not locked")

    async def follow(self, store: Store) -> None:
        """Keep the files locked as the cluster says, until cancelled."""
        with store.watch(kinds=(Cluster,)) as changes:
            while True:
                try:
                    self.relock(store.view.cluster)
                except Unavailable as error:
                    _log.error("%s; trying again in %.0f s", error.message, AGAIN_SECONDS)
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                with contextlib.suppress(Lagged):  # the next look is at the store itself
                    await changes.next()

    def _open(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._unlocked.set()
