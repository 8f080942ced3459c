"""A whole store read and written at once, in a file or in etcd: what backups and conversions are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from common.errors import Unavailable
from common.model import Cluster, StoredObject
from common.version import version
from manager.config import ManagerConfig
from manager.etcd import Etcd
from manager.store.backend import Epoch, LeaderRecord, Loaded
from manager.store.backends.etcd.backend import EtcdBackend
from manager.store.backends.failures import explaining
from manager.store.backends.sealed import Seal
from manager.store.backends.sqlite import StoreFile
from manager.store.changes import Change, ChangeSet

# Seconds that a freshly started etcd may take to find a leader.
STARTED_SECONDS = 20.0
# Seconds that a running one may take.
_ANSWERS_SECONDS = 1.0
# As many as the leader of several managers commits at once.
_OBJECTS_OF_COMMIT = 500


async def read_etcd(own: Etcd) -> Loaded:
    """Read all of the store in this host's etcd as of one revision; etcd is started for that where it does not run.

    Raises:
        Unavailable: it cannot be read; the message says why.

    """
    if await runs(own):
        return await _load(own.backend())
    own.prepare()
    async with own.running():
        await own.answers(STARTED_SECONDS)
        return await _load(own.backend())


async def runs(own: Etcd) -> bool:
    """Whether this host's etcd runs already: its manager does, then."""
    try:
        await own.answers(_ANSWERS_SECONDS)
    except Unavailable:
        return False
    return True


async def write_etcd(own: Etcd, config: ManagerConfig, loaded: Loaded) -> None:
    """Fill a new etcd of one member with objects as they are, and read them back.

    Raises:
        Unavailable: it cannot be written, or does not give back what was written.

    """
    own.prepare()
    async with own.running():
        await own.answers(STARTED_SECONDS)
        backend = own.backend()
        try:
            await backend.load()
            if not await backend.claim(LeaderRecord(config.node_id, Epoch(0, 1), config.advertise_addr, version())):
                raise Unavailable("etcd on this host is in use already: it has a leader that is another manager")
            # The cluster first: its record says in which format all is written.
            for objects in _slices(sorted(loaded.objects, key=lambda each: not isinstance(each, Cluster))):
                await backend.commit([_change_set(loaded.index, objects)])
            await backend.resign()
        finally:
            await backend.close()
        compare(loaded, await _load(own.backend()))


def read_file(path: Path, seal: Seal) -> Loaded:
    """Read all of a store's file, which no manager has open; one of an earlier release becomes one of this.

    Raises:
        Unavailable: it cannot be read, or a manager has it open.

    """
    with explaining(path):
        file = StoreFile(path, seal, fresh=False)
        try:
            return file.open()
        finally:
            file.close()


def write_file(path: Path, seal: Seal, loaded: Loaded) -> None:
    """Make a store's file of objects as they are, and read them back.

    Raises:
        Unavailable: it cannot be written, or does not give back what was written.

    """
    with explaining(path):
        file = StoreFile(path, seal, fresh=True)
        try:
            file.open()
            file.commit([_change_set(loaded.index, loaded.objects)])
        finally:
            file.close()
    compare(loaded, read_file(path, seal))


def compare(wanted: Loaded, found: Loaded) -> None:
    """Compare what was read back with what was written.

    Raises:
        Unavailable: they differ; it says in how much.

    """
    before, after = _by_key(wanted.objects), _by_key(found.objects)
    differing = sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())
    if differing or wanted.index != found.index:
        raise Unavailable(
            f"what was read back is not what was written: {differing} of {len(before)} objects differ, version "
            f"{found.index} for {wanted.index}: nothing was changed, look at the disk"
        )


async def _load(backend: EtcdBackend) -> Loaded:
    try:
        return await backend.load()
    finally:
        await backend.close()


def _change_set(index: int, objects: Sequence[StoredObject]) -> ChangeSet:
    return ChangeSet(index, tuple(Change(None, each) for each in objects))


def _slices(objects: Sequence[StoredObject]) -> Iterator[Sequence[StoredObject]]:
    rest = iter(objects)
    while taken := tuple(islice(rest, _OBJECTS_OF_COMMIT)):
        yield taken


def _by_key(objects: Sequence[StoredObject]) -> dict[tuple[type[StoredObject], str], StoredObject]:
    return {(type(each), each.id): each for each in objects}
