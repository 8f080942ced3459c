"""Leaving a cluster, on purpose or because a join failed: the daemon does not run, and what it made here goes."""

from __future__ import annotations

import asyncio
import enum
import logging
import random
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from common.clock import SystemClock
from common.errors import PermissionDenied, SwarmError
from common.tls import CredentialFiles, client_context
from common.version import version
from common.wire.client import Membership, open_session, withdraw
from common.wire.messages import PROTOCOL_VERSION, Hello, Leave, LeaveAck
from worker.config import DataDir, WorkerConfig, parse_address
from worker.engine.driver import DockerEngine
from worker.host import locks
from worker.host.description import describe
from worker.interfaces.engine import JSON, LABEL_AGENT, Engine
from worker.link.dialler import Credentials
from worker.net.dataplane import choose_networks
from worker.tasks.tmpfs import TmpfsFiles

LEAVE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Told(enum.Enum):
    """Whether a manager has heard that a node leaves, or did not know the node any more."""

    HEARD = enum.auto()
    REMOVED = enum.auto()
    UNHEARD = enum.auto()


async def leave(data: DataDir, *, served: bool) -> Told:
    """Leave the cluster: tell a manager, remove the tasks' containers and networks, forget the identity.

    `served`: its daemon had a session until it was stopped, with `locks.leave_of` held, and so has told the manager:
    then it is that which a manager means that does not know this node.

    Raises:
        FailedPrecondition: this host has not joined.
        Unavailable: the engine does not answer, so the containers cannot be removed; nothing of this host was changed.

    """
    config = data.load()
    engine = DockerEngine(config.docker_host, random.SystemRandom())
    try:
        info = await engine.info()
        told = await _tell(config.managers, lambda address: _say_leave(data, config, info, address))
        await _clear(data, config, engine)
    finally:
        await engine.close()
    data.wipe()
    return Told.HEARD if told is Told.REMOVED and served else told


async def undo(data: DataDir) -> Told:
    """Undo a join: have the manager forget this node, and remove what there may be of it on the host.

    What fails is logged, and the rest is done. A manager that is not told forgets a node that never came after a while.
    """
    config = data.load()
    context = Credentials(data.credentials, SystemClock(), random.SystemRandom()).context()
    told = await _withdraw(config.managers, context)
    engine = DockerEngine(config.docker_host, random.SystemRandom())
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await engine.info()
        await _clear(data, config, engine)
    except (SwarmError, OSError, TimeoutError) as error:
        _log.warning("what tasks have left on this host stays: %s", error or "the engine does not answer")
    finally:
        await engine.close()
        data.wipe()
    return told


async def withdraw_with(managers: Sequence[str], member: Membership) -> Told:
    """Undo a join whose certificate was not stored."""
    with tempfile.TemporaryDirectory(prefix="swarm-worker-") as folder:
        files = CredentialFiles(Path(folder))
        try:
            files.write(member.certificate, member.key, member.root_certificate)
        except OSError as error:
            _log.warning(
                "the manager cannot be told that this join has failed: %s: it will forget the node by itself", error
            )
            return Told.UNHEARD
        return await _withdraw(managers, client_context(files))


async def remove_containers(engine: Engine, node_id: str) -> None:
    """Stop and remove all task containers of a node, also when some of them cannot be removed.

    Raises:
        EngineDown, EngineError: the error of the first that could not be removed.

    """

    async def remove(container_id: str) -> None:
        await engine.stop(container_id, None)
        await engine.remove(container_id)

    containers = await engine.containers({LABEL_AGENT: node_id})
    results = await asyncio.gather(*(remove(each.id) for each in containers), return_exceptions=True)
    if error := next(filter(None, results), None):
        raise error


async def _clear(data: DataDir, config: WorkerConfig, engine: Engine) -> None:
    """Remove what the agent made on this host."""
    await remove_containers(engine, config.node_id)
    for network in await engine.networks({LABEL_AGENT: config.node_id}):
        await engine.empty_network(network["Id"])  # plain containers stay, without the cluster's networks
    with locks.hold(locks.NETWORK) as alone:
        networks = await choose_networks(data, config, engine, SystemClock(), alone=alone)
        await networks.remove_all()
    files = TmpfsFiles(data.files)
    for task_id in files.tasks():
        files.remove(task_id)


async def _withdraw(managers: Sequence[str], context: ssl.SSLContext) -> Told:
    async def say(address: str) -> None:
        host, port = parse_address(address)
        await withdraw(host, port, context)

    return await _tell(managers, say)


async def _say_leave(data: DataDir, config: WorkerConfig, info: JSON, address: str) -> None:
    context = Credentials(data.credentials, SystemClock(), random.SystemRandom()).context()
    hello = Hello(
        protocol=PROTOCOL_VERSION, description=describe(info, version()), advertise_addr=config.advertise_addr
    )
    host, port = parse_address(address)
    channel, _ = await open_session(host, port, context, hello)
    try:
        await channel.send(Leave(), 1)
        while not isinstance((await channel.receive()).message, LeaveAck):
            pass  # what was on its way to this node does not matter any more
    finally:
        await channel.close()


async def _tell(managers: Sequence[str], say: Callable[[str], Awaitable[None]]) -> Told:
    """Tell the first manager that listens that this node leaves."""
    for address in managers:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await say(address)
                return Told.HEARD
        except PermissionDenied:
            return Told.REMOVED
        except SwarmError as error:
            _log.warning("%s was not told that this node leaves: %s", address, error.message)
        except TimeoutError:
            _log.warning("%s was not told that this node leaves: no answer within %g s", address, LEAVE_SECONDS)
    return Told.UNHEARD
