"""Making a manager from a backup: here, or on another host with another address."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import msgspec

from common.clock import Clock
from common.errors import InvalidArgument
from common.ids import new_id
from common.model.node import ANY_CERTIFICATE, ManagerStatus, Node, NodeStatus
from common.process.private_files import private_file, write_private
from manager.backup import CONFIG, KEY, STORE, Manifest, members
from manager.bootstrap import all_or_nothing, first_node, refuse_second
from manager.ca.authority import Authority
from manager.ca.files import ManagerFiles, RootFiles
from manager.ca.keyring import KeyFile, Keyring
from manager.ca.migration import adopt_root, unlocked_keyring
from manager.config import DataDir, ManagerConfig, split_address
from manager.store.backends.sqlite import SqliteBackend
from manager.store.changes import Decision
from manager.store.store import Store
from manager.whole_store import read_file, write_file


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it: the backup, and the manager's configuration before and now."""

    manifest: Manifest
    before: ManagerConfig
    config: ManagerConfig

    @property
    def moved(self) -> bool:
        """Whether workers have to be told where the manager is now."""
        return self.before.advertise_addr != self.config.advertise_addr


def restore_cluster(
    data: DataDir,
    source: BinaryIO,
    name: str,
    configure: Callable[[ManagerConfig], ManagerConfig],
    clock: Clock,
    ask_unlock_key: Callable[[], str],
) -> Restored:
    """Make the files of a manager from a backup, all of them or none.

    `configure` makes the new configuration of the one in the backup. `name` is what the backup is called in errors.
    `ask_unlock_key` is called where its keys are locked.

    Raises:
        AlreadyExists: there is a manager in `data`; it is left as it is.
        InvalidArgument: `source` is not a backup, or `configure` refuses.
        Unavailable: something cannot be written, or the store in the backup cannot be read.

    """
    refuse_second(data)
    with all_or_nothing(data):
        manifest, before = _unpack(data, source, name)
        config = configure(before)
        config = asyncio.run(_settle(data, manifest, before, config, clock, ask_unlock_key))
        data.save(config)
    return Restored(manifest, before, config)


def _unpack(data: DataDir, source: BinaryIO, name: str) -> tuple[Manifest, ManagerConfig]:
    config = b""
    data.certificates.mkdir(mode=0o700)
    with members(source, name) as (manifest, found):
        for member, content in found:
            if member == CONFIG:
                config = content.read()
            elif member == STORE:
                with private_file(data.store) as store:
                    shutil.copyfileobj(content, store)
            else:
                write_private(data.key if member == KEY else data.certificates / member, content.read())
    try:
        return manifest, msgspec.json.decode(config, type=ManagerConfig)
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"{name} is damaged: its {CONFIG} cannot be read: {error}") from error


async def _settle(
    data: DataDir,
    manifest: Manifest,
    before: ManagerConfig,
    config: ManagerConfig,
    clock: Clock,
    ask_unlock_key: Callable[[], str],
) -> ManagerConfig:
    """Make the records and this manager's certificate fit the host that it is on now; return who the manager is."""
    keyring = unlocked_keyring(data, ask_unlock_key)
    async with Store(SqliteBackend(data.store, keyring.seal(), fresh=True), clock) as store:
        await adopt_root(store, RootFiles(data.certificates))
        authority, cluster = Authority.stored(store.view), store.view.cluster
        if not authority.cluster_id == cluster.id == manifest.cluster_id:
            raise InvalidArgument(f"the backup is damaged: its authority is not that of cluster {manifest.cluster_id}")
        config, decision = decide_restored_node(list(store.view.nodes), before, config, new_id(random.SystemRandom()))
        cluster = msgspec.structs.replace(cluster, generation=cluster.generation + 1)
        await store.update(lambda tx: tx.apply(replace(decision, put=(*decision.put, cluster))))
        names = config.certificate_names(socket.gethostname())
        lifetime = cluster.spec.ca_config.node_cert_expiry
        ManagerFiles(data.path, keyring.unlock_key).issue_own(authority, config.node_id, names, lifetime, clock)
    _seal_anew(data, keyring)
    return config


def _seal_anew(data: DataDir, before: Keyring) -> None:
    """Seal the store with a key that no backup and no other host has, locked as the one before.

    Raises:
        Unavailable: it cannot be written.

    """
    loaded = read_file(data.store, before.seal())
    for file in data.path.glob(f"{data.store.name}*"):
        file.unlink()
    keyring = before.renewed()
    write_file(data.store, keyring.seal(), loaded)
    KeyFile(data.key).save(keyring)


def decide_restored_node(
    nodes: Sequence[Node], before: ManagerConfig, config: ManagerConfig, fresh_id: str
) -> tuple[ManagerConfig, Decision]:
    """Decide which node the restored manager is, and how the nodes' records begin.

    On the host that it was on it is the node that it was; on a worker's host it is that worker's node (one host is one
    row); else it is a new one, `fresh_id`. The node that it was before, and those of other managers, become workers';
    where they had none, they go.

    A worker has the time to come that `dispatcher.RESTORE_GRACE` gives, as it may have to be told where the manager is:
    until then its tasks stay its own. It comes with a certificate that it may have renewed since the backup.
    """
    config = msgspec.structs.replace(config, node_id=_own_id(nodes, before, config, fresh_id))
    put, remove = [], []
    for node in nodes:
        if node.id == config.node_id:
            put.append(_promote(_await_node(node), config))
        elif node.id == before.node_id and not node.agent:
            remove.append(node)
        elif node.id == before.node_id or (node.manager_status is not None and node.agent):
            put.append(_demote(_await_node(node)))
        elif node.manager_status is not None:
            remove.append(node)
        else:
            put.append(_await_node(node))
    if config.node_id == fresh_id:
        put.append(first_node(config))
    old = {node.id: node for node in nodes}
    return config, Decision(put=tuple(node for node in put if node != old.get(node.id)), remove=tuple(remove))


def _own_id(nodes: Sequence[Node], before: ManagerConfig, config: ManagerConfig, fresh_id: str) -> str:
    host = split_address(config.advertise_addr)[0]
    if host == split_address(before.advertise_addr)[0]:
        return before.node_id
    here = [node for node in nodes if node.agent and node.status.addr == host]
    return max(here, key=lambda node: (node.status.state != "down", node.created_at)).id if here else fresh_id


def _await_node(node: Node) -> Node:
    """Let a node that has a certificate come with any of its own; one that has left has none."""
    if not node.agent or not node.certificate_serials:
        return node
    status = node.status
    if status.state == "ready":
        message = "the manager was restored; this worker has not connected to it yet"
        status = NodeStatus(state="unknown", message=message, addr=status.addr)
    return msgspec.structs.replace(node, status=status, certificate_serials=(ANY_CERTIFICATE,))


def _demote(node: Node) -> Node:
    spec = msgspec.structs.replace(node.spec, role="worker")
    return msgspec.structs.replace(node, spec=spec, manager_status=None, manager_serials=(), etcd_addr="")


def _promote(node: Node, config: ManagerConfig) -> Node:
    spec = msgspec.structs.replace(node.spec, role="manager")
    status = ManagerStatus(leader=True, addr=config.advertise_addr)
    return msgspec.structs.replace(node, spec=spec, manager_status=status, etcd_addr="")
