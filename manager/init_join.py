"""Becoming one of a cluster's managers: `swarm-manager join`."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

import msgspec

from common.clock import Clock
from common.errors import Unavailable
from common.model import RootKey
from common.tls import certificate_request, new_key, pinned_context
from common.version import version
from common.wire.client import ask_first, fetch_root
from common.wire.handshake import check_manager_join
from common.wire.manager_messages import ManagerJoin, ManagerJoined
from common.wire.messages import PROTOCOL_VERSION
from common.wire.server import dial
from common.wire.token import parse_token
from manager.bootstrap import all_or_nothing, refuse_second
from manager.ca.files import ManagerFiles
from manager.ca.keyring import KeyFile, Keyring
from manager.config import DataDir, EtcdConfig, ManagerConfig, split_address
from manager.etcd import etcd_of
from manager.store.levels import LEVELS

# A leader adds a member to etcd before it answers.
_REPLY_SECONDS = 60.0


async def join_cluster(
    data: DataDir,
    config: ManagerConfig,
    peer_addr: str,
    token: str,
    address: str,
    clock: Clock,
    ticket: str = "",
    etcd_files: Sequence[str] = (),
) -> ManagerConfig:
    """Join as a manager, and fill `data`; all of it or nothing. Return the configuration with what the leader said.

    `address` is a manager's (`HOST:PORT`), `peer_addr` where the others reach this one's etcd. `ticket` stands for the
    token of a worker that was promoted; `token` still says which root to believe. `etcd_files` are what an etcd that
    others run is asked with, where they are not where the leader has them.

    Raises:
        AlreadyExists: there is a manager in `data` already.
        SwarmError: the leader refused, or cannot be reached; the message says why.

    """
    refuse_second(data)
    host, port = split_address(address)
    pin = parse_token(token)
    root = await fetch_root(host, port, pin, clock)
    key = new_key()
    request = ManagerJoin(
        protocol=PROTOCOL_VERSION,
        release=version(),
        levels=LEVELS,
        token=ticket or str(pin),
        csr=certificate_request(key),
        clock=clock.now(),
        hostname=socket.gethostname(),
        addr=config.advertise_addr,
        peer_addr=peer_addr,
        names=config.certificate_names(socket.gethostname()),
    )
    joined = await _ask(host, port, root, request)
    ca_file, cert_file, key_file = (*(etcd_files if any(etcd_files) else joined.etcd_files), "", "", "")[:3]
    etcd = EtcdConfig(
        peer_addr=peer_addr,
        cluster_id=joined.cluster_id,
        peers=joined.peers,
        joins=True,
        endpoints=joined.endpoints,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
    )
    config = msgspec.structs.replace(config, node_id=joined.node_id, etcd=etcd)
    try:
        with all_or_nothing(data):
            _fill(data, config, joined, key, clock)
            data.save(config)
    except OSError as error:
        raise Unavailable(f"cannot write to the data directory {data.path}: {error.strerror}") from error
    return config


async def _ask(host: str, port: int, root: bytes, request: ManagerJoin) -> ManagerJoined:
    channel = await dial(host, port, pinned_context(root))
    try:
        return check_manager_join(await ask_first(channel, request, _REPLY_SECONDS))
    finally:
        await channel.close()


def _fill(data: DataDir, config: ManagerConfig, joined: ManagerJoined, key: bytes, clock: Clock) -> None:
    keyring = Keyring(joined.keys, joined.current_key)
    KeyFile(data.key).save(keyring)
    ManagerFiles(data.path).node.write(joined.certificate, key, joined.root_certificate)
    own = etcd_of(data, config, keyring.seal(), clock, random.SystemRandom())
    own.keep_root(RootKey(certificate=joined.root_certificate, key=joined.root_key))
    own.prepare()
