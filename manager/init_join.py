"""Becoming one of a cluster's managers: `swarm-manager join`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from common.aio.first import Success, first_success
from common.clock import Clock
from common.errors import SwarmError, Unavailable, leaves
from common.model import RootKey
from common.tls import CredentialFiles, certificate_request, client_context, new_key, pinned_context
from common.version import version
from common.wire.client import ask_first, fetch_root, withdraw
from common.wire.handshake import LedElsewhere, check_manager_join
from common.wire.manager_messages import ManagerJoin, ManagerJoined
from common.wire.messages import PROTOCOL_VERSION
from common.wire.server import check_free, dial
from common.wire.token import parse_token
from manager.bootstrap import ETCD_SECONDS, all_or_nothing, refuse_second
from manager.ca.files import ManagerFiles
from manager.ca.keyring import KeyFile, Keyring
from manager.config import DataDir, EtcdConfig, ManagerConfig, split_address
from manager.etcd import OwnEtcd, etcd_listen_addr, etcd_of
from manager.store.backends.etcd.process import RemovedMember
from manager.store.levels import LEVELS

# A leader adds a member to etcd before it answers.
_REPLY_SECONDS = 60.0
# So long the cluster is told that a join has failed: another manager may be about to lead.
_TAKE_BACK_SECONDS = 20.0
_ASK_AGAIN_SECONDS = 0.5


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

    What fails after the leader has written this manager down is taken back there, too.

    `address` is a manager's (`HOST:PORT`), `peer_addr` where the others reach this one's etcd. `ticket` stands for the
    token of a worker that was promoted; `token` still says which root to believe. `etcd_files` are what an etcd that
    others run is asked with, where they are not where the leader has them.

    Raises:
        AlreadyExists: there is a manager in `data` already.
        SwarmError: the leader refused, or cannot be reached; the message says why.

    """
    refuse_second(data)
    for address_here in (config.listen_addr, *config.api_listen_addrs()):
        _check_listening(address_here)
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
    credentials = (joined.certificate, key, joined.root_certificate)
    try:
        return _keep(data, config, peer_addr, joined, key, clock, etcd_files)
    except BaseException as error:
        untold = await _take_back_with(credentials, address)
        if isinstance(error, SwarmError) and untold:
            raise Unavailable(f"{error.message}; {untold_words(joined.node_id, untold)}") from error
        raise


def _keep(
    data: DataDir,
    config: ManagerConfig,
    peer_addr: str,
    joined: ManagerJoined,
    key: bytes,
    clock: Clock,
    etcd_files: Sequence[str],
) -> ManagerConfig:
    """Fill the data directory with what the leader said.

    Raises:
        Unavailable: it cannot be written, or this host cannot use what it says, such as etcd's address or its files.

    """
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
    if not etcd.endpoints:
        _check_listening(etcd_listen_addr(config))
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


def _check_listening(address: str) -> None:
    """Check that this manager can listen where it is to, before anybody is told of it.

    Raises:
        Unavailable: it cannot.

    """
    host, port = split_address(address)
    try:
        check_free(host or None, port)
    except Unavailable as error:
        raise Unavailable(
            f"{error.message}: this host's manager is to listen there. Docker Swarm's managers listen on port 2377, "
            "etcd's own unit on 2380: stop what does, or give another address with --listen-addr or -H, and join again"
        ) from error


def untold_words(node_id: str, why: str) -> str:
    """Say what becomes of a join that no manager could be told has failed."""
    return (
        f"no manager could be told that this join has failed ({why}): node {node_id} goes from the cluster by itself "
        f"in two minutes; if it does not, run 'swarm-manager node demote {node_id}' and 'node rm {node_id}' there"
    )


async def take_back(data: DataDir, config: ManagerConfig, address: str, clock: Clock) -> str:
    """Have the cluster forget this manager, whose daemon did not start; return why it could not be told, if so.

    Its etcd runs meanwhile where it has been: without that vote the others may not decide that it is to go.
    """
    files = ManagerFiles(data.path).node
    own = etcd_of(data, config, KeyFile(data.key).load().seal(), clock, random.SystemRandom())
    if not isinstance(own, OwnEtcd) or not own.has_run:
        return await _tell(files, address)
    untold = ""
    with contextlib.suppress(RemovedMember):
        try:
            async with own.running():
                with contextlib.suppress(Unavailable):  # that may be the very reason; the others may do without it
                    await own.answers(ETCD_SECONDS)
                untold = await _tell(files, address)
        except BaseExceptionGroup as errors:
            raise next(leaves(errors)) from errors
    return untold


async def _take_back_with(credentials: tuple[bytes, bytes, bytes], address: str) -> str:
    """Do so for a join of which nothing is stored."""
    with tempfile.TemporaryDirectory(prefix="swarm-manager-") as folder:
        files = CredentialFiles(Path(folder))
        try:
            files.write(*credentials)
        except OSError as error:
            return f"{folder}: {error.strerror}"
        return await _tell(files, address)


async def _tell(files: CredentialFiles, address: str) -> str:
    """Tell the leader, whom other managers name, that this join has failed; return why that could not be, if so."""
    context = client_context(files)
    why: dict[str, SwarmError] = {}

    async def say(at: str) -> None:
        await withdraw(*split_address(at), context)

    try:
        async with asyncio.timeout(_TAKE_BACK_SECONDS):
            while True:
                found = await first_success([address, *why], say, named_by=_leader)
                if isinstance(found, Success):
                    return ""
                why.update(found)
                refused = next((each for each in why.values() if not isinstance(each, Unavailable)), None)
                if refused is not None:
                    return refused.message
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
    except TimeoutError:
        return "; ".join(f"{at}: {error.message}" for at, error in why.items()) or f"{address} does not answer"


def _leader(error: SwarmError) -> str | None:
    return error.told.leader or None if isinstance(error, LedElsewhere) else None
