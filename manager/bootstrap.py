"""Making a cluster: everything that `swarm-manager init` stores before the daemon first starts."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import Iterator, Sequence

from common.clock import Clock
from common.errors import AlreadyExists, InvalidArgument, Unavailable
from common.ids import new_id
from common.model import Cluster, Network, Node, RootKey
from common.model.cluster import DEFAULT_DATA_PATH_PORT, CAConfig
from common.model.container import DriverConfig
from common.model.network import IpamOptions, NetworkSpec
from common.model.node import ManagerStatus, NodeDescription, NodeSpec, NodeStatus
from common.net import addressing, host_addresses
from common.process.private_files import private_folder
from common.version import version
from manager.ca.authority import Authority, create_root
from manager.ca.files import ManagerFiles
from manager.ca.keyring import KeyFile, new_keyring
from manager.ca.tokens import new_tokens
from manager.config import DataDir, ManagerConfig, split_address
from manager.etcd import Etcd, etcd_of
from manager.store.backend import Epoch, LeaderRecord
from manager.store.backends.sqlite import SqliteBackend
from manager.store.changes import Decision
from manager.store.levels import NEWEST_LEVEL
from manager.store.shared import SharedStore
from manager.store.store import Store

# Tried in this order: the first that overlaps none of the host's own routes is used. Docker's own pools are left to it.
_POOLS = ("10.0.0.0/8", "10.128.0.0/9", "10.0.0.0/9", "100.64.0.0/10", "198.18.0.0/15")
_DATA_PATH_PORTS = range(1024, 49152)
# How long an etcd of one member takes to come up, at most.
ETCD_SECONDS = 20.0


def refuse_second(data: DataDir) -> None:
    """Say that there is a manager already.

    Raises:
        AlreadyExists: there is a cluster in `data`.

    """
    if data.initialised():
        raise AlreadyExists(
            f"this host is already the manager of a cluster (data directory {data.path}): 'swarm-manager "
            "leave --force' ends it; '--data-dir' makes another one beside it"
        )


async def create_cluster(
    data: DataDir,
    config: ManagerConfig,
    pools: Sequence[str],
    clock: Clock,
    rng: random.Random,
    *,
    data_path_port: int = DEFAULT_DATA_PATH_PORT,
) -> Cluster:
    """Make the authority, the tokens and the first records in `data`; all of it or nothing. Return the cluster.

    Raises:
        AlreadyExists: there is a cluster in `data` already; it is left as it is.
        Unavailable: the directory or the store cannot be written.

    """
    refuse_second(data)
    try:
        with all_or_nothing(data):
            cluster = await _fill(data, config, pools, clock, rng, data_path_port)
            data.save(config)
    except OSError as error:
        raise Unavailable(f"cannot write to the data directory {data.path}: {error.strerror}") from error
    return cluster


@contextlib.contextmanager
def all_or_nothing(data: DataDir) -> Iterator[None]:
    """Start from nothing of ours, and leave nothing behind when it fails. Files that are not ours are not touched."""
    private_folder(data.path)
    data.clear()
    try:
        yield
    except BaseException:
        data.clear()
        with contextlib.suppress(OSError):  # it holds something that is not ours
            data.path.rmdir()
        raise


async def _fill(
    data: DataDir, config: ManagerConfig, pools: Sequence[str], clock: Clock, rng: random.Random, data_path_port: int
) -> Cluster:
    cluster_id = config.etcd.cluster_id if config.etcd is not None else new_id(rng)
    keyring = new_keyring()
    KeyFile(data.key).save(keyring)
    root = await asyncio.to_thread(create_root, cluster_id, clock.now())
    authority = Authority(root)
    names = config.certificate_names(socket.gethostname())
    own = ManagerFiles(data.path).issue_own(authority, config.node_id, names, CAConfig().node_cert_expiry, clock)
    cluster = Cluster(
        id=cluster_id,
        join_tokens=new_tokens(authority.digest, rng),
        root_certificate=authority.root_certificate.decode(),
        default_addr_pool=tuple(pools),
        data_path_port=data_path_port,
        store_level=NEWEST_LEVEL,
    )
    records = Decision(put=(cluster, root, first_node(config, own.serial), ingress_network(rng)))
    if config.etcd is not None:
        await _fill_etcd(etcd_of(data, config, keyring.seal(), clock, rng), config, root, records, clock)
        return cluster
    async with Store(SqliteBackend(data.store, keyring.seal(), fresh=True), clock) as store:
        await store.update(lambda tx: tx.apply(records))
    return cluster


async def _fill_etcd(own: Etcd, config: ManagerConfig, root: RootKey, records: Decision, clock: Clock) -> None:
    """Store the first records in an etcd of one member, which runs for that long."""
    own.keep_root(root)
    own.prepare()
    async with own.running():
        await own.answers(ETCD_SECONDS)
        async with SharedStore(own.backend(), clock) as store:
            first = LeaderRecord(config.node_id, Epoch(0, 1), config.advertise_addr, version())
            if not await store.lead(first):
                raise Unavailable("etcd on this host is in use already: it has a leader that is another manager")
            await store.update(lambda tx: tx.apply(records))
            await store.resign()


def first_node(config: ManagerConfig, serial: str = "") -> Node:
    """Return the manager's own row; `serial` is its certificate's. Without a worker it is ready, but gets no task."""
    host = split_address(config.advertise_addr)[0]
    return Node(
        id=config.node_id,
        spec=NodeSpec(role="manager"),
        description=NodeDescription(hostname=socket.gethostname()),
        status=NodeStatus(state="ready", addr=host),
        manager_status=ManagerStatus(leader=True, addr=config.advertise_addr),
        manager_serials=(serial,) if serial else (),
        etcd_addr=config.etcd.peer_addr if config.etcd is not None else "",
    )


def ingress_network(rng: random.Random) -> Network:
    """Return the predefined network that stands for the routing mesh."""
    overlay = DriverConfig(name="overlay")
    ipam = IpamOptions(driver=DriverConfig(name="default"))
    return Network(id=new_id(rng), spec=NetworkSpec(name="ingress", driver=overlay, ingress=True, ipam=ipam))


def choose_pools(asked: Sequence[str]) -> tuple[str, ...]:
    """Check the pools that were asked for, or choose one that no route of this host overlaps.

    Raises:
        InvalidArgument: a pool is malformed, too small, or overlaps a route; or none of ours is free.

    """
    routes = host_addresses.routed_networks()
    if not asked:
        for pool in _POOLS:
            if not _overlapping_route(pool, routes):
                return (pool,)
        raise InvalidArgument("every default address pool overlaps a route of this host: give --default-addr-pool CIDR")
    addressing.layout(asked)
    addressing.ipv6_pools(asked)
    for pool in asked:
        if taken := _overlapping_route(pool, routes):
            raise InvalidArgument(f"address pool {pool} overlaps this host's route {taken}: choose another")
    return tuple(asked)


def choose_data_path_port(asked: int) -> int:
    """Return the UDP port of the tunnels: Docker's usual one for 0, else what was asked for.

    Raises:
        InvalidArgument: it is out of Docker's range, where neither well-known nor ephemeral ports are.

    """
    if asked and asked not in _DATA_PATH_PORTS:
        first, last = _DATA_PATH_PORTS[0], _DATA_PATH_PORTS[-1]
        raise InvalidArgument(f"--data-path-port {asked}: expected a port from {first} to {last}")
    return asked or DEFAULT_DATA_PATH_PORT


def _overlapping_route(pool: str, routes: Sequence[tuple[host_addresses.Network, str]]) -> str:
    network = ipaddress.ip_network(pool)
    for route, link in routes:
        if route.version == network.version and network.overlaps(route):
            return f"{route} on {link}"
    return ""
