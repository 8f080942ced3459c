"""What a data directory of an earlier release becomes: its secrets sealed, its authority's key in the store.

Releases before stores were sealed have no `store.key`, and the root as two files beside the manager's certificate. A
step that is interrupted is done by the next start, and the files go last, when their content is durable elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from manager.ca.files import RootFiles
from manager.ca.keyring import KeyFile, Keyring, Locked, new_keyring
from manager.config import DataDir
from manager.store.store import Store

_log = logging.getLogger(__name__)


def load_keyring(data: DataDir, unlock_key: str | None = None) -> Keyring:
    """Read a data directory's keys; one of an earlier release gets a key first.

    Raises:
        Locked, InvalidArgument, Unavailable: as `KeyFile.load`.
        OSError: the new key cannot be written.

    """
    file = KeyFile(data.key)
    if not file.path.exists() and RootFiles(data.certificates).exist():
        file.save(new_keyring())
        _log.info(
            "made %s: secrets, configs, registry logins and the authority's key are sealed from now on", file.path
        )
    return file.load(unlock_key)


def unlocked_keyring(data: DataDir, ask: Callable[[], str]) -> Keyring:
    """Read a data directory's keys, and where they are locked ask for the unlock key.

    Raises:
        InvalidArgument, Unavailable, OSError: as `load_keyring`, and as `ask`.

    """
    try:
        return load_keyring(data)
    except Locked:
        return load_keyring(data, ask())


async def adopt_root(store: Store, files: RootFiles) -> None:
    """Move the root of an earlier release into the store, and remove its files when it is there.

    Raises:
        Unavailable: the files cannot be read, or the store did not take it.

    """
    if not files.exist():
        return
    if not len(store.view.root_keys):
        root = files.load()
        await store.update(lambda tx: tx.put(root))
    files.erase()
    _log.info("the certificate authority's key is in the store now, sealed; its files in %s are gone", files.directory)
