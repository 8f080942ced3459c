"""A store that is damaged: saying what is left of it, and going on with that when a person says so.

Nothing that was damaged is thrown away: it is set aside, in a folder of the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from common.clock import Clock, SystemClock, rfc3339, to_the_second
from common.errors import FailedPrecondition
from common.ids import new_id
from common.model import Node
from common.process.private_files import lock_folder, sync_folder
from common.text.terminal import echo
from manager.ca.files import RootFiles
from manager.ca.migration import unlocked_keyring
from manager.cli.cluster.lock import read_unlock_key
from manager.config import DEFAULT_DATA_DIR, DataDir, ManagerConfig
from manager.restore import decide_restored_node
from manager.store.backends.confirmed import confirmed_path
from manager.store.backends.contents import Contents, format_count, read_best
from manager.store.backends.failures import explaining
from manager.store.backends.sealed import Seal
from manager.store.backends.sqlite import SqliteBackend, StoreFile
from manager.store.changes import Change, ChangeSet
from manager.store.store import Store


def repair(data: DataDir, *, accept: bool) -> int:
    """Tell how a manager's store is, and with `accept` go on with what is left of it; return the exit code.

    Raises:
        SwarmError: as `examine` and `accept_loss`.

    """
    data.load()
    seal = unlocked_keyring(data, read_unlock_key).seal()
    contents = examine(data, seal)
    damage = contents.damage()
    if not damage:
        echo(f"The store {data.store} is whole: {_summary(contents)}.")
        return 0
    echo(f"The store {data.store} is damaged: {'; '.join(damage)}.")
    for kind, object_id in contents.unreadable:
        echo(f"  cannot be read: {kind} {object_id}")
    echo(f"What is left: {_summary(contents)}.")
    if not accept:
        echo("\nNothing was changed. To go back to a backup:\n")
        echo(f"    {_restoring(data)}\n")
        echo("To continue with what is left, and keep the damaged files aside:\n")
        echo(f"    swarm-manager repair --accept-loss{_data_dir_flag(data)}")
        return 1
    aside = accept_loss(data, contents, seal, SystemClock())
    echo(
        f"\nThat is the store now. The damaged files, secrets among them, are in {aside}: remove it when you are done."
    )
    echo("Deploy again what is lost. Hosts whose node is lost must leave, and join again.")
    echo(f"Start the manager: swarm-manager start{_data_dir_flag(data)}")
    return 0


def examine(data: DataDir, seal: Seal) -> Contents:
    """Read what a manager that does not run has in its store; nothing of it is changed.

    Raises:
        FailedPrecondition: there is no manager in `data`.
        Unavailable: it runs, or a file cannot be read.

    """
    data.load()
    with explaining(data.store):
        claim = lock_folder(data.path)
        try:
            return read_best(data.store, seal)
        finally:
            os.close(claim)


def accept_loss(data: DataDir, contents: Contents, seal: Seal, clock: Clock) -> Path:
    """Make a store of what is left of a damaged one, and return the folder that the damaged files are in now.

    Workers have to show who they are, as after a restore: their certificates may be newer than what is left.

    Raises:
        FailedPrecondition: too little is left.
        Unavailable: a file cannot be written; the store is as it was then.

    """
    config = data.load()
    has_root = contents.root_key is not None or RootFiles(data.certificates).exist()
    if contents.cluster is None or not has_root:
        what = "the cluster's own record" if contents.cluster is None else "the key of its authority"
        raise FailedPrecondition(
            f"what is left in {data.store} cannot be used, as {what} is missing: "
            f"go back to a backup: {_restoring(data)}"
        )
    with explaining(data.store), _private_folder(data.path) as folder:
        new = folder / data.store.name
        _fill(new, contents, seal)
        asyncio.run(_settle(new, seal, config, clock))
        return _put_in_place(data, new, clock)


def _summary(contents: Contents) -> str:
    """Say what is there, by kinds."""
    kinds = Counter(re.sub(r"(?<!^)(?=[A-Z])", " ", type(each).__name__).lower() for each in contents.objects)
    listed = ", ".join(format_count(number, kind) for kind, number in sorted(kinds.items())) or "nothing"
    return f"{listed}, as of version {contents.position.index} ({to_the_second(contents.position.time)})"


def _restoring(data: DataDir) -> str:
    """Return the commands by which a backup takes a damaged store's place."""
    path = shlex.quote(str(data.path))
    return f"mv {path} {path}.damaged && swarm-manager restore FILE{_data_dir_flag(data)}"


def _data_dir_flag(data: DataDir) -> str:
    return "" if data.path == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(data.path))}"


@contextlib.contextmanager
def _private_folder(parent: Path) -> Iterator[Path]:
    """Have a folder on the data directory's own disk while it is needed."""
    folder = Path(tempfile.mkdtemp(prefix=".repair-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _fill(new: Path, contents: Contents, seal: Seal) -> None:
    """Write the objects as they are, under a version index that was never used."""
    confirmed = contents.confirmed.index if contents.confirmed is not None else 0
    index = 1 + max(confirmed, contents.position.index, *(each.version.index for each in contents.objects))
    file = StoreFile(new, seal, fresh=True)
    file.open()
    try:
        file.commit([ChangeSet(index, tuple(Change(None, each) for each in contents.objects))])
    finally:
        file.close()


async def _settle(new: Path, seal: Seal, config: ManagerConfig, clock: Clock) -> None:
    async with Store(SqliteBackend(new, seal), clock) as store:
        nodes: list[Node] = list(store.view.nodes)
        known = any(node.id == config.node_id for node in nodes)
        fresh_id = new_id(random.SystemRandom()) if known else config.node_id
        _, decision = decide_restored_node(nodes, config, config, fresh_id)
        await store.update(lambda tx: tx.apply(decision))


def _put_in_place(data: DataDir, new: Path, clock: Clock) -> Path:
    """Let a new store take the damaged one's place, and return the folder that has all of the damaged one.

    Whatever interrupts this, a store that lacks something is not taken for a whole one: the note of how far it had come
    goes last. The log goes first, as SQLite would bring it into the new file.
    """
    aside = Path(tempfile.mkdtemp(prefix=f"damaged-{rfc3339(clock.now())[:10]}-", dir=data.path))
    for file in data.path.glob(f"{data.store.name}*"):
        os.link(file, aside / file.name)
    sync_folder(aside)
    for ending in ("-wal", "-shm"):
        data.store.with_name(f"{data.store.name}{ending}").unlink(missing_ok=True)
    new.replace(data.store)
    confirmed_path(new).replace(confirmed_path(data.store))
    sync_folder(data.path)
    return aside
