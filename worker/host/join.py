"""Joining a cluster, as `swarm-worker join` does; `worker.host.leave` undoes it.

The host's engine may be a node of a Docker Swarm already, whose overlay networks may use the tunnels' port.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from common.clock import SystemClock
from common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, Unavailable
from common.net import host_addresses
from common.net.addressing import is_one_host
from common.process.interrupt import attempt
from common.process.launch import ENGINE_HOST
from common.process.private_files import private_folder
from common.text.terminal import printable
from common.wire.client import JoinTerms, Membership, join
from common.wire.token import parse_token
from worker.config import (
    DEFAULT_IMAGE_PORT,
    DEFAULT_KEEP_IMAGES,
    DataDir,
    WorkerConfig,
    format_address,
    is_manager_address,
    parse_address,
)
from worker.engine.driver import DockerEngine
from worker.host import background, locks
from worker.host.leave import undo, withdraw_with
from worker.intake.identifiers import identifier
from worker.interfaces.engine import JSON
from worker.net.plan.names import DEFAULT_TUNNEL_PORT

AVAILABILITIES = ("active", "pause", "drain")
LONGEST_WARNING = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOptions:
    """What the user asked for. `manager` is `HOST[:PORT]`."""

    manager: str
    token: str
    advertise_addr: str = ""
    docker_host: str = ENGINE_HOST
    image_port: int = DEFAULT_IMAGE_PORT
    keep_images: int = DEFAULT_KEEP_IMAGES
    labels: Mapping[str, str] = field(default_factory=dict)
    availability: str = "active"


async def become_member(
    data: DataDir, options: JoinOptions, warn: Callable[[str], None] = _log.warning
) -> WorkerConfig:
    """Get a certificate and store it; nothing is stored when anything fails. `warn` is called with each warning.

    Raises:
        AlreadyExists: this data directory is a member already.
        InvalidArgument: the token or an address is malformed.
        Unavailable: no engine, or no manager, answers.
        Unauthenticated: the token is of another cluster, or rotated.
        FailedPrecondition: the engine is too old, belongs to another worker, or is in a Docker Swarm that has the
            tunnels' port; or the clocks differ too much.

    """
    if data.joined:
        config = data.load()
        raise AlreadyExists(
            f"this host has already joined cluster {config.cluster_id} as node {config.node_id}: leave it "
            "first with 'swarm-worker leave', or join another engine with --docker-host and --data-dir"
        )
    parse_token(options.token)
    check_ip(options.advertise_addr)
    if options.advertise_addr and not host_addresses.is_own(options.advertise_addr):
        warn(
            f"--advertise-addr {options.advertise_addr} is not an address of this host: other nodes reach its "
            "containers and images only where something (NAT) takes what comes there to this one"
        )
    host, port = parse_address(options.manager)
    with locks.hold(locks.engine_at(options.docker_host)) as ours:
        if not ours:
            raise FailedPrecondition(locks.engine_taken(options.docker_host))
    info = await engine_info(options.docker_host)
    terms = JoinTerms(
        hostname=str(info.get("Name", "")),
        advertise_addr=options.advertise_addr,
        labels=options.labels,
        availability=options.availability,
        engine=str(info.get("ID", "")),
    )
    with _keep_on_success(data):  # before the join, which is not asked for where its result cannot be stored
        member = await join(host, port, options.token, terms, SystemClock())
        for sentence in member.warnings:
            warn(printable(sentence, LONGEST_WARNING))
        return await _keep(data, _config(options, member, format_address(host, port)), member, info, warn)


def _config(options: JoinOptions, member: Membership, asked: str) -> WorkerConfig:
    return WorkerConfig(
        node_id=identifier(member.node_id),
        cluster_id=member.cluster_id,
        managers=tuple(filter(is_manager_address, member.managers)) or (asked,),
        advertise_addr=options.advertise_addr,
        docker_host=options.docker_host,
        image_port=options.image_port,
        keep_images=options.keep_images,
    )


@contextmanager
def _keep_on_success(data: DataDir) -> Iterator[None]:
    """Make a data directory that can be written, and wipe it if the block fails.

    Raises:
        Unavailable: it cannot be made, or written.

    """
    private_folder(data.path)
    data.check_writable()
    try:
        yield
    except BaseException:
        data.wipe()
        raise


async def _keep(
    data: DataDir, config: WorkerConfig, member: Membership, info: JSON, warn: Callable[[str], None]
) -> WorkerConfig:
    """Store what joining gave; where that fails, or the host cannot be a node, the join is withdrawn.

    Raises:
        Unavailable: it cannot be stored.
        FailedPrecondition: the engine is in a Docker Swarm that has the tunnels' port.

    """
    try:
        if sentence := warning(info, member.data_path_port):
            warn(sentence)
        data.credentials.write(member.certificate, member.key, member.root_certificate)
        data.save(config)
    except BaseException as error:
        await withdraw_with(config.managers, member)
        if isinstance(error, OSError):
            raise Unavailable(f"cannot store this node's identity in {data.path}: {error.strerror}") from error
        raise
    return config


async def engine_info(docker_host: str) -> JSON:
    """Ask the engine what it is.

    Raises:
        Unavailable: it does not answer.
        FailedPrecondition: it is too old.

    """
    engine = DockerEngine(docker_host, random.SystemRandom())
    try:
        return await engine.info()
    finally:
        await engine.close()


@contextmanager
def take_back_unless_settled(data: DataDir) -> Iterator[Callable[[], None]]:
    """Undo the join that the block makes, unless the block calls what this yields; an earlier join stays."""
    member_before = data.joined

    def take_back() -> None:
        if data.joined and not member_before:
            background.daemon(data).stop()
            asyncio.run(undo(data))

    with attempt(take_back) as settle:
        yield settle


def parse_labels(entries: tuple[str, ...]) -> dict[str, str]:
    """Read `key=value` labels.

    Raises:
        InvalidArgument: a label has no key.

    """
    labels = {}
    for entry in entries:
        key, _, value = entry.partition("=")
        if not key:
            raise InvalidArgument(f"label {entry!r} has no name: write it as NAME=VALUE")
        labels[key] = value
    return labels


def check_ip(text: str) -> None:
    """Refuse what is neither empty nor the address of one host.

    Raises:
        InvalidArgument: it is a name, or a mistake.

    """
    if text and not is_one_host(text):
        raise InvalidArgument(f"--advertise-addr {text!r} is not an IP address of this host: write it as 10.0.0.5")


def warning(info: JSON, tunnel_port: int) -> str:
    """Return the warning for a host that joins while its engine is in a Docker Swarm; empty where it is in none.

    `info` is the engine's answer to GET /info, `tunnel_port` the cluster's UDP port, 0 for the usual one. Where the
    swarm has another port than the usual one, only its managers' engines say so.

    Raises:
        FailedPrecondition: both have the same port: no task with a network could run.

    """
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState", "") in ("", "inactive"):
        return ""
    theirs = (swarm.get("Cluster") or {}).get("DataPathPort") or DEFAULT_TUNNEL_PORT
    ours = tunnel_port or DEFAULT_TUNNEL_PORT
    if ours == theirs:
        raise FailedPrecondition(
            f"this host's engine is a node of a Docker Swarm, whose networks have UDP port {theirs}, which this "
            "cluster's tunnels need: leave that swarm first, with 'docker swarm leave', or make the cluster with "
            "another port, with 'swarm-manager init --data-path-port PORT'"
        )
    return (
        "this host's engine is a node of a Docker Swarm, too: neither knows which containers the "
        "other runs here, nor which ports it publishes"
    )
