"""Becoming one of a cluster's managers: `swarm-manager join`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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
# Seconds for which the leader is tried to be told of a failed join: another manager may be about to lead.
_TAKE_BACK_SECONDS = 20.0
_ASK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class NewManager:
    """A host that is to become a manager.

    data: is filled when it has joined. peer_addr: where the other managers reach its etcd, `HOST:PORT`.
    etcd_files: the CA's, its certificate's and its key's, with which an etcd that others run is asked; empty ones are
    where the leader has them.
    """

    data: DataDir
    config: ManagerConfig
    peer_addr: str
    clock: Clock
    etcd_files: Sequence[str] = ()

    def request(self, token: str, key: bytes) -> ManagerJoin:
        """Return what the leader is asked; `key` is the host's new private one."""
        hostname = socket.gethostname()
        return ManagerJoin(
            protocol=PROTOCOL_VERSION,
            release=version(),
            levels=LEVELS,
            token=token,
            csr=certificate_request(key),
            clock=self.clock.now(),
            hostname=hostname,
            addr=self.config.advertise_addr,
            peer_addr=self.peer_addr,
            names=self.config.certificate_names(hostname),
        )


async def join_cluster(new: NewManager, token: str, address: str) -> ManagerConfig:
    """Have a host join as a manager, or leave nothing. Return its configuration with what the leader said.

    What fails after the leader has recorded the manager is taken back there, too.

    `address` is another manager's (`HOST:PORT`). `token` is the one for managers, or a promoted worker's ticket: both
    name the root to believe.

    Raises:
        AlreadyExists: the data directory has a manager already.
        SwarmError: the leader refused, or cannot be reached; the message says why.

    """
    refuse_second(new.data)
    for listen_addr in (new.config.listen_addr, *new.config.api_listen_addrs()):
        _check_listening(listen_addr)
    host, port = split_address(address)
    pin = parse_token(token)
    root = await fetch_root(host, port, pin, new.clock)
    key = new_key()
    joined = await _ask(host, port, root, new.request(str(pin), key))
    credentials = (joined.certificate, key, joined.root_certificate)
    try:
        return _keep(new, joined, key)
    except BaseException as error:
        why_not_told = await _take_back_unstored(credentials, address)
        if isinstance(error, SwarmError) and why_not_told:
            raise Unavailable(f"{error.message}; {not_told_warning(joined.node_id, why_not_told)}") from error
        raise


def _keep(new: NewManager, joined: ManagerJoined, key: bytes) -> ManagerConfig:
    """Fill the data directory with what the leader said.

    Raises:
        Unavailable: it cannot be written, or this host cannot use what it says, such as etcd's address or its files.

    """
    etcd_files = new.etcd_files if any(new.etcd_files) else joined.etcd_files
    ca_file, cert_file, key_file = (*etcd_files, "", "", "")[:3]
    etcd = EtcdConfig(
        peer_addr=new.peer_addr,
        cluster_id=joined.cluster_id,
        peers=joined.peers,
        joins=True,
        endpoints=joined.endpoints,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
    )
    config = msgspec.structs.replace(new.config, node_id=joined.node_id, etcd=etcd)
    if not etcd.endpoints:
        _check_listening(etcd_listen_addr(config))
    try:
        with all_or_nothing(new.data):
            _fill(new.data, config, joined, key, new.clock)
            new.data.save(config)
    except OSError as error:
        raise Unavailable(f"cannot write to the data directory {new.data.path}: {error.strerror}") from error
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


def not_told_warning(node_id: str, why: str) -> str:
    """Return the warning that no manager could be told of a failed join, and what happens to its node."""
    return (
        f"no manager could be told that this join has failed ({why}): node {node_id} goes from the cluster by itself "
        f"in two minutes; if it does not, run 'swarm-manager node demote {node_id}' and 'node rm {node_id}' there"
    )


async def take_back(data: DataDir, config: ManagerConfig, address: str, clock: Clock) -> str:
    """Have the cluster forget this manager, whose daemon did not start; return why it could not be told, else nothing.

    If its etcd has run, it runs again meanwhile: without its vote the others may have no quorum to remove it.
    """
    files = ManagerFiles(data.path).node
    own = etcd_of(data, config, KeyFile(data.key).load().seal(), clock, random.SystemRandom())
    if not isinstance(own, OwnEtcd) or not own.has_run:
        return await _tell_leader(files, address)
    why_not_told = ""
    with contextlib.suppress(RemovedMember):
        try:
            async with own.running():
                with contextlib.suppress(Unavailable):  # this may be why the join failed
                    await own.answers(ETCD_SECONDS)
                why_not_told = await _tell_leader(files, address)
        except BaseExceptionGroup as errors:
            raise next(leaves(errors)) from errors
    return why_not_told


async def _take_back_unstored(credentials: tuple[bytes, bytes, bytes], address: str) -> str:
    """Do as `take_back` for a join of which nothing is stored."""
    with tempfile.TemporaryDirectory(prefix="swarm-manager-") as folder:
        files = CredentialFiles(Path(folder))
        try:
            files.write(*credentials)
        except OSError as error:
            return f"{folder}: {error.strerror}"
        return await _tell_leader(files, address)


async def _tell_leader(files: CredentialFiles, address: str) -> str:
    """Tell the leader, which other managers name, that this join has failed; return why that failed, else nothing."""
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
