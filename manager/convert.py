"""Moving a stopped manager's store from its file into an etcd that several managers can share, or back.

Everything is read, written, read back and compared before the configuration changes, and what it was is kept beside it.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, TypeVar

import msgspec

from common.clock import Clock
from common.errors import FailedPrecondition, Unavailable
from common.model import Cluster, Node, RootKey, StoredObject
from manager.ca.files import ManagerFiles
from manager.ca.migration import unlocked_keyring
from manager.config import DataDir, ManagerConfig
from manager.etcd import OwnEtcd
from manager.init import with_first_etcd
from manager.store.backend import Loaded
from manager.store.backends.sealed import Seal
from manager.store.levels import NEWEST_LEVEL
from manager.whole_store import read_etcd, read_file, runs, write_etcd, write_file

T = TypeVar("T", bound=StoredObject)
Kind: TypeAlias = Literal["sqlite", "etcd"]


def convert(data: DataDir, to: Kind, clock: Clock, ask_unlock_key: Callable[[], str]) -> Loaded:
    """Move the store of a manager that does not run; return what is in it now.

    Raises:
        FailedPrecondition: there is no manager, it is converted already, it runs, or it is one of several.
        Unavailable: a store cannot be read or written; the one that was there is as it was then.

    """
    config = data.load()
    if (config.etcd is not None) == (to == "etcd"):
        raise FailedPrecondition(f"the store of this manager is {_WHERE[to]} already")
    if config.etcd is not None and config.etcd.endpoints:
        raise FailedPrecondition(
            "this cluster's store is in an etcd that others run, and is not moved from there: make a backup of it, and "
            "restore that"
        )
    seal = unlocked_keyring(data, ask_unlock_key).seal()
    try:
        return asyncio.run((_to_etcd if to == "etcd" else _to_file)(data, config, seal, clock))
    except OSError as error:
        raise Unavailable(f"cannot write to {data.path}: {error.strerror}") from error


_WHERE = {"sqlite": "in a file", "etcd": "in etcd"}


async def _to_etcd(data: DataDir, config: ManagerConfig, seal: Seal, clock: Clock) -> Loaded:
    before = read_file(data.store, seal)
    cluster, root = _one(before.objects, Cluster), _one(before.objects, RootKey)
    shutil.rmtree(data.etcd, ignore_errors=True)  # of an attempt that was cut off
    config = with_first_etcd(config, cluster.id)
    serial = ManagerFiles(data.path).node.identity().serial
    after = _with_manager(before, config, serial)
    own = OwnEtcd(data, config, seal, clock, random.SystemRandom())
    own.keep_root(root)
    await write_etcd(own, config, after)
    data.save(config)
    for file in data.path.glob(f"{data.store.name}*"):
        if not file.name.endswith(".before"):
            file.replace(file.with_name(f"{file.name}.before"))
    return after


async def _to_file(data: DataDir, config: ManagerConfig, seal: Seal, clock: Clock) -> Loaded:
    own = OwnEtcd(data, config, seal, clock, random.SystemRandom())
    if await runs(own):
        raise FailedPrecondition("the manager runs: stop it first ('systemctl stop swarm-manager')")
    before = await read_etcd(own)
    nodes = (each for each in before.objects if isinstance(each, Node))
    others = [node.name for node in nodes if node.manager_status is not None]
    if len(others) > 1:
        raise FailedPrecondition(
            f"this is one of {len(others)} managers ({', '.join(sorted(others))}): demote or remove the others first"
        )
    config = msgspec.structs.replace(config, etcd=None)
    after = _with_manager(before, config, "")
    for file in data.path.glob(f"{data.store.name}*"):  # of an attempt that was cut off, or of a conversion before
        file.unlink()
    write_file(data.store, seal, after)
    data.save(config)
    kept = data.etcd.with_name(f"{data.etcd.name}.before")
    shutil.rmtree(kept, ignore_errors=True)
    data.etcd.replace(kept)
    return after


def _with_manager(loaded: Loaded, config: ManagerConfig, serial: str) -> Loaded:
    """Return a store in which this manager is as its configuration says, of another generation than before.

    Workers believe no manager of an earlier generation: not the store that is kept, if somebody should start it.
    """

    def changed(value: StoredObject) -> StoredObject:
        if isinstance(value, Cluster):
            return msgspec.structs.replace(value, generation=value.generation + 1, store_level=NEWEST_LEVEL)
        if isinstance(value, Node) and value.id == config.node_id:
            address = config.etcd.peer_addr if config.etcd is not None else ""
            serials = (serial,) if serial else value.manager_serials
            return msgspec.structs.replace(value, etcd_addr=address, manager_serials=serials)
        return value

    return Loaded(loaded.index + 1, tuple(changed(each) for each in loaded.objects))


def _one(objects: Sequence[StoredObject], kind: type[T]) -> T:
    found = next((each for each in objects if isinstance(each, kind)), None)
    if found is None:
        raise Unavailable(
            f"the store has no {kind.__name__}: start the manager once with this release, or restore a backup"
        )
    return found
