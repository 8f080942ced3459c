"""Names for the containers of this host: who asks, which zones there are, the server, and the containers' resolv.conf.

This is what the data plane holds; it hears of tasks, and of every new plan.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from common.errors import ResourceExhausted
from common.model.container import ContainerSpec, DnsConfig, Mount
from common.model.task import Task
from common.wire.messages import MESH
from worker.intake.addresses import IPAddress
from worker.intake.world import NetworkWorld
from worker.interfaces.engine import LABEL_LINKS
from worker.net.dns.forward import DNS_PORT, Forwarder
from worker.net.dns.resolv_conf import HOST_FILE, TARGET, ContainerFiles, HostResolution
from worker.net.dns.server import DnsServer, explain
from worker.net.plan.topology import NodeTopology
from worker.net.resolve.zones import LocalContainer, Memory, Zones, zones_of

_log = logging.getLogger(__name__)


class ClusterDns:
    """`folder` keeps the containers' files; `rng` must be one that cannot be guessed (`random.SystemRandom`)."""

    def __init__(self, folder: Path, rng: random.Random, *, host_file: Path = HOST_FILE, port: int = DNS_PORT) -> None:
        host = HostResolution(host_file)
        self._files = ContainerFiles(folder, host)
        self._server = DnsServer(Forwarder(host, rng), random.Random(rng.getrandbits(64)), port)  # noqa: S311 - order only
        self._tasks: dict[str, Task] = {}
        self._records: Memory = {}
        self._zones = Zones()
        self._gateways: Mapping[str, str] = {}

    async def run(self) -> None:
        """Answer until cancelled. The files stay: containers have them."""
        await self._server.run()

    def update(
        self,
        world: NetworkWorld,
        topology: NodeTopology,
        attached: Mapping[str, Mapping[str, IPAddress]],
        draining: Collection[str],
    ) -> None:
        """Answer by a new plan from now on. `attached`: the addresses of each task here, by network id."""
        containers = list(self._containers(attached))
        self._zones = zones_of(world, topology, containers, draining, self._records, self._zones)
        self._gateways = _gateways(topology)
        self._server.update(self._zones)

    def admit(self, task: Task) -> None:
        """Take note of a task that gets, or has, a container here."""
        self._tasks[task.id] = task

    def nameserver(self, network_ids: Collection[str]) -> str:
        """Return the address that answers a container of these networks; empty when none does."""
        for network_id in (MESH, *network_ids):
            address = self._gateways.get(network_id, "") if network_id in network_ids else ""
            if self._server.listens_at(address):
                return address
        return ""

    def resolv_conf(self, task: Task, nameserver: str) -> tuple[Mount, ...]:
        """Write a task's resolv.conf and return its mount; none if the task brings a file of its own.

        Raises:
            ResourceExhausted: it cannot be written, and there is none from before.

        """
        spec = task.spec.container_spec or ContainerSpec()
        if TARGET in _targets(spec):
            return ()
        path = self._files.path(task.id)
        try:
            self._files.write(task.id, nameserver, spec.dns_config)
        except OSError as error:
            if task.id not in self._files:
                raise ResourceExhausted(
                    f"cannot write the container's resolv.conf, {path}: {error.strerror}: free some space on that disk"
                ) from error
            _log.warning("cannot rewrite the resolv.conf of task %s, it stays as it is: %s", task.id, error)
        return (Mount(type="bind", source=str(path), target=TARGET),)

    def readmit(self, task: Task) -> None:
        """Take note of a task whose container is from before, and so is its file."""
        self.admit(task)
        self._files.adopt(task.id, (task.spec.container_spec or ContainerSpec()).dns_config)

    def release(self, task_id: str) -> None:
        """Forget a task and its file. Repeatable."""
        self._tasks.pop(task_id, None)
        self._files.remove(task_id)

    def check(self) -> None:
        """Follow what no event tells of: the host's own resolv.conf, a port that has become free."""
        self._files.follow_host()
        if self._server.refusal() is not None:
            self._server.listen()

    def lacks(self) -> tuple[str, ...]:
        refusal = self._server.refusal()
        return (explain(refusal),) if refusal is not None else ()

    def remove_all(self) -> None:
        """Leave nothing on the host."""
        self._files.remove_all()

    def _containers(self, attached: Mapping[str, Mapping[str, IPAddress]]) -> Iterator[LocalContainer]:
        for task_id, addresses in attached.items():
            task = self._tasks.get(task_id)
            if task is None:
                # Not assigned yet, after a restart: it knows its networks' names, and belongs to no stack.
                yield LocalContainer(task_id=task_id, addresses=addresses)
                continue
            spec = task.spec.container_spec or ContainerSpec()
            own = (spec.dns_config or DnsConfig()).nameservers
            yield LocalContainer(
                task_id=task_id,
                addresses=addresses,
                service_id=task.service_id,
                nameservers=own,
                links=_links(task),
            )


def _gateways(topology: NodeTopology) -> Mapping[str, str]:
    if not topology.number:
        return {}
    found = {network_id: str(segment.gateway) for network_id, segment in topology.segments.items()}
    return {**found, MESH: str(topology.gateways[1])}


def _links(task: Task) -> Mapping[str, str]:
    """Return what a plain container calls others; a service's task may have the label with anything in it."""
    try:
        return msgspec.json.decode(task.labels.get(LABEL_LINKS, "{}"), type=dict[str, str])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def _targets(spec: ContainerSpec) -> Iterator[str]:
    yield from (mount.target for mount in spec.mounts)
    yield from (secret.file.name for secret in spec.secrets if secret.file is not None)
    yield from (config.file.name for config in spec.configs if config.file is not None)
