"""Making a cluster of one manager out of what is left: `swarm-manager init --force-new-cluster`, when most are lost."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from common.clock import Clock
from common.errors import FailedPrecondition, Unavailable
from common.model import Cluster, Node
from common.version import version
from manager.ca.authority import Authority
from manager.ca.migration import unlocked_keyring
from manager.ca.tokens import new_tokens
from manager.config import DataDir, ManagerConfig
from manager.domain.managers import managers, without_manager
from manager.etcd import OwnEtcd, peer_url
from manager.store.backend import Epoch, LeaderRecord
from manager.store.backends.etcd.members import Members
from manager.store.shared import SharedStore
from manager.store.transaction import Transaction
from manager.whole_store import STARTED_SECONDS, runs


async def force_new_cluster(data: DataDir, ask_unlock_key: Callable[[], str], clock: Clock) -> list[Node]:
    """Make this host's manager, which must not run, the only one; return the former managers.

    Their certificates, and all join tokens, are invalid from then on, and workers no longer trust them.

    Raises:
        FailedPrecondition: the store of this manager is a file, or the manager runs.
        Unavailable: etcd does not start, or does not store it.

    """
    config = data.load()
    if config.etcd is None:
        raise FailedPrecondition("this cluster has one manager, whose store is a file: there is nothing to force")
    if config.etcd.endpoints:
        raise FailedPrecondition(
            "this cluster's store is in an etcd that others run: a manager that reaches it goes on alone by itself. "
            "Where that etcd has lost its majority, restore it as its documentation says"
        )
    rng = random.SystemRandom()
    seal = unlocked_keyring(data, ask_unlock_key).seal()
    etcd = msgspec.structs.replace(config.etcd, peers=(f"{config.node_id}={peer_url(config.etcd.peer_addr)}",))
    forced = msgspec.structs.replace(config, etcd=msgspec.structs.replace(etcd, forced=True))
    own = OwnEtcd(data, forced, seal, clock, rng)
    if await runs(own):
        raise FailedPrecondition("the manager runs: stop it first ('systemctl stop swarm-manager')")
    own.prepare()
    async with own.process.running():
        await own.process.ready(STARTED_SECONDS)
        await _remove_others(own, config)
        async with SharedStore(own.backend(), clock) as store:
            gone = await _begin_anew(store, config, rng)
    data.save(msgspec.structs.replace(config, etcd=etcd))
    return gone


async def _remove_others(own: OwnEtcd, config: ManagerConfig) -> None:
    """Remove other members from etcd: earlier learners are still there."""
    client = own.process.client()
    try:
        members = Members(client)
        for member in await members.list():
            if member.name != config.node_id:
                await members.remove(member.id)
    finally:
        await client.close()


async def _begin_anew(store: SharedStore, config: ManagerConfig, rng: random.Random) -> list[Node]:
    before = store.epoch
    generation = max(before.generation, store.view.cluster.generation) + 1
    epoch = Epoch(generation, before.number + 1)
    if not await store.lead(LeaderRecord(config.node_id, epoch, config.advertise_addr, version())):
        raise Unavailable("etcd on this host is in use already: it has a leader that is another manager")
    tokens = new_tokens(Authority.stored(store.view).digest, rng)

    def begin(tx: Transaction) -> list[Node]:
        gone = [node for node in managers(tx) if node.id != config.node_id]
        for node in gone:
            tx.put(without_manager(node))
        changed: Cluster = msgspec.structs.replace(tx.cluster, generation=generation, join_tokens=tokens)
        tx.put(changed)
        return gone

    gone = await store.update(begin)
    await store.resign()
    return gone
