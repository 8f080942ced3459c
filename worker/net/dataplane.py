"""The data plane: a `Networks` (worker.interfaces) that spans the cluster's hosts. This part serves single tasks.

A host that lacks something for it has plain bridges instead: `choose_networks`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from common.aio.steady import Rounds
from common.clock import Clock
from common.errors import ResourceExhausted, SwarmError, Unavailable
from common.model.task import Task
from common.net.addressing import with_ipv4
from common.net.engine_networks import GATEWAY_NETWORK, PREDEFINED_NETWORKS
from common.wire.messages import MESH, MESH6
from worker.config import DataDir, WorkerConfig
from worker.intake.addresses import IPAddress, address, address6
from worker.intake.identifiers import Unusable
from worker.intake.world import Network, NetworkWorld
from worker.interfaces.engine import LABEL_AGENT, LABEL_NO_GATEWAY, Container, Engine, Phase
from worker.interfaces.networks import Attachment, NetworkEndpoint, Networks
from worker.net.apply.host import Host
from worker.net.apply.netlink import Kernel
from worker.net.dns.service import ClusterDns
from worker.net.ipam import TaskAddresses, addresses_of
from worker.net.local_networks import LocalNetworks
from worker.net.plan.topology import NodeTopology
from worker.net.reconciler import HostSurvey, NetworkReconciler
from worker.net.watch import facts as host_facts
from worker.net.watch.capabilities import encryption, lacking
from worker.net.watch.listening import listening

ATTACH_SECONDS = 30.0
LEARN_RETRY_SECONDS = 1.0
# For so long at most, a task that is to stop waits for rules that cannot be written.
UNDRAINED_SECONDS = 5.0
# Tasks that stop within this time wait for the other hosts' rules together.
GATHER_SECONDS = 0.005

_log = logging.getLogger(__name__)

_NOT_ALONE = (
    "another worker of this host programs its network: networks do not span hosts, and no port is published in the mesh"
)


class DataPlane:
    """The networks of one host.

    survey: the host's own facts.
    originals: the file that keeps the host's own settings until the worker leaves.
    elsewhere: waits until the other hosts have applied what the manager has decided, and raises TimeoutError when
    nobody says so; None: nobody waits for them.
    """

    def __init__(
        self,
        engine: Engine,
        survey: HostSurvey,
        dns: ClusterDns,
        clock: Clock,
        originals: Path,
        elsewhere: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._engine = engine
        self._survey = survey
        self._dns = dns
        self._originals = originals
        self._elsewhere = Rounds(elsewhere, GATHER_SECONDS) if elsewhere is not None else None
        self._addresses = TaskAddresses(clock)
        self._reconciler = NetworkReconciler(engine, survey, self._addresses, dns, originals)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dns.run())
            group.create_task(self._learn_addresses())
            group.create_task(self._reconciler.run())

    def update(self, world: NetworkWorld) -> None:
        if world != self._reconciler.world:  # most news is of tasks, whose addresses are given here
            self._reconciler.world = world
            self._reconciler.passes.note()

    def reserve(self, holder: str, addresses: Mapping[str, str]) -> None:
        self._addresses.reserve(holder, {network_id: address(text) for network_id, text in addresses.items()})
        self._reconciler.passes.note()

    async def attach(self, task: Task) -> Attachment:
        for config in task.spec.networks:
            if (name := self._name(config.target)) in PREDEFINED_NETWORKS:
                return Attachment(mode=name)
        if not (task.spec.networks or _publishes(task) or self._addresses.of(task.id)):
            return Attachment()  # Docker's own bridge: nobody of the cluster connects to it
        try:
            async with asyncio.timeout(ATTACH_SECONDS):
                await self._reconciler.addresses_known.wait()
                self._dns.admit(task)
                await self._give_addresses(task)
                await self._reconciler.passes.in_line()
        except TimeoutError:
            why = self.hindrance(task)
            raise Unavailable(f"the host's network is not ready after {ATTACH_SECONDS:.0f} s: {why}") from None
        return self._attachment(task)

    def hindrance(self, task: Task) -> str:
        if self._reconciler.trouble:
            return self._reconciler.trouble
        if not self._reconciler.addresses_known.is_set():
            return "the engine has not said yet which addresses its containers have"
        if self._wanted(task) and not self._addresses.of(task.id):
            return self._without_part(task)
        return "its addresses are known, but the rules and routes for them are not written yet"

    async def adopted(self, task: Task, container: Container) -> Attachment:
        self._dns.readmit(task)
        self._recognise(task.id, container)
        return self._attachment(task)

    async def started(self, task: Task, container: Container) -> None:  # noqa: ARG002 - it is connected already
        if task.id in self._addresses.draining:
            self._addresses.draining.discard(task.id)
            self._reconciler.passes.note()

    async def silent_ports(self, task: Task, container: Container) -> tuple[int, ...]:
        wanted = {port.target_port for port in task.ports if port.protocol == "tcp"}
        if not wanted:
            return ()
        try:
            heard = await listening(container.pid)
        except OSError as error:
            _log.debug("task %s: cannot see where its program listens: %s", task.name, error.strerror)
            return ()
        return tuple(sorted(wanted - heard))

    async def drain(self, task: Task) -> None:
        if not self._addresses.of(task.id):
            return
        self._addresses.draining.add(task.id)
        self._reconciler.passes.note()
        try:
            async with asyncio.timeout(UNDRAINED_SECONDS):
                await self._reconciler.passes.ruled()
        except TimeoutError:
            _log.warning(
                "task %s stops while rules of this host may still lead to it: %s", task.name, self._reconciler.trouble
            )
        world = self._reconciler.world
        if self._elsewhere is not None and world.peers and task.service_id in world.endpoints:
            try:
                await self._elsewhere.served()
            except TimeoutError:
                _log.info("task %s stops although no manager confirms that the other hosts know", task.name)

    async def in_line(self) -> None:
        await self._reconciler.passes.ruled()

    async def release(self, task_id: str) -> None:
        self._dns.release(task_id)
        if self._addresses.release(task_id):
            self._reconciler.passes.note()

    async def remove_all(self) -> None:
        async with Kernel() as kernel:
            await Host(self._engine, self._survey.node_id, kernel, self._originals).remove_all()
        self._dns.remove_all()

    def lacks(self) -> Collection[str]:
        topology, refusal = self._topology, self._survey.ipv6_refusal
        return (
            *self._survey.encryption.lacks,
            *([f"containers have no IPv6: {refusal}"] if refusal else ()),
            *(topology.problems.values() if topology is not None else ()),
            *self._dns.lacks(),
            *self._reconciler.conntrack.lacks(),
            *self._reconciler.firewall.lacks(),
            *(f"another program has port {port}: it is not published here" for port in self._reconciler.ports.held),
        )

    def encryption(self) -> str:
        return self._survey.encryption.kind

    async def looked(self) -> None:
        await self._reconciler.passes.next()

    def ipv6(self) -> bool:
        return not self._survey.ipv6_refusal

    def ipv6_addresses(self) -> Collection[str]:
        return host_facts.ipv6_addresses()

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _topology(self) -> NodeTopology | None:
        return self._reconciler.plan.topology if self._reconciler.plan is not None else None

    def _name(self, target: str) -> str:
        network = self._reconciler.world.networks.get(target)
        return network.name if network is not None else target

    def _without_part(self, task: Task) -> str:
        """Say which of a task's networks has no lease for this host. One that is not full gets it within a moment."""
        known = self._reconciler.world.networks
        for network in [known[each.target] for each in task.spec.networks if each.target in known]:
            if network.subnet is not None and self._survey.node_id not in network.leases:
                return (
                    f"network {network.name!r} has no addresses left for this host, since other nodes have all of "
                    f"{network.subnet}: create the network with a larger --subnet"
                )
        return "its networks have no addresses for this host yet"

    def _wanted(self, task: Task) -> list[str]:
        """Name what a task is to have addresses in: its networks, and the mesh unless all of them are internal."""
        ids = [config.target for config in task.spec.networks]
        if LABEL_NO_GATEWAY in task.labels:
            return ids
        networks = self._reconciler.world.networks
        known = [networks[each] for each in ids if each in networks]
        shut = bool(known) and all(network.internal for network in known)
        return ids if shut and not _publishes(task) else [MESH, *ids]

    async def _give_addresses(self, task: Task) -> None:
        while True:
            wanted, topology = self._wanted(task), self._topology
            if topology is None or not _is_ready(topology, wanted):
                await self._reconciler.passes.next()
                continue
            wait = self._addresses.take(task.id, wanted)
            if not wait:
                if MESH in wanted and topology.mesh6 is not None:
                    given = self._addresses.of(task.id)[MESH]
                    assert isinstance(given, IPv4Address), "the others of its part are in use"
                    self._addresses.hold(task.id, MESH6, with_ipv4(topology.mesh6, given))
                self._reconciler.passes.note()
                return
            await asyncio.sleep(wait)

    def _attachment(self, task: Task) -> Attachment:
        """Say what a task's container has or gets; the gateway first, whose route is the default one."""
        addresses = self._addresses.of(task.id)
        nameserver = self._dns.nameserver(addresses.keys())
        ends = []
        if MESH in addresses:
            gateway = NetworkEndpoint(
                network=GATEWAY_NETWORK,
                network_id=MESH,
                address=str(addresses[MESH]),
                address6=str(addresses.get(MESH6, "")),
            )
            ends.append(gateway)
        for config in task.spec.networks:
            network = self._reconciler.world.networks.get(config.target)
            if network is not None and network.id in addresses:
                ends.append(
                    NetworkEndpoint(
                        network=network.docker,
                        network_id=network.id,
                        address=str(addresses[network.id]),
                        address6=_beside(network, addresses[network.id]),
                        # Docker's own name server would answer them first, with this host's container alone.
                        aliases=() if nameserver else config.aliases,
                        driver_opts=config.driver_opts,
                    )
                )
        if not nameserver:
            return Attachment(endpoints=tuple(ends))
        mounts = self._dns.resolv_conf(task, nameserver)
        return Attachment(endpoints=tuple(ends), dns=(nameserver,), mounts=mounts)

    def _recognise(self, task_id: str, container: Container) -> None:
        """Take note of the addresses that a container has from before."""
        if container.phase is Phase.EXITED:
            return
        names = {network.docker: str(network.id) for network in self._reconciler.world.networks.values()}
        for network_id, found in addresses_of(container, {**names, GATEWAY_NETWORK: MESH}):
            self._addresses.hold(task_id, network_id, found)
        with suppress(Unusable):
            if GATEWAY_NETWORK in container.addresses6:
                self._addresses.hold(task_id, MESH6, address6(container.addresses6[GATEWAY_NETWORK]))
        self._reconciler.passes.note()

    async def _learn_addresses(self) -> None:
        """Learn which addresses containers have from before, so that nobody gets one of them."""
        told = ""
        while not self._reconciler.addresses_known.is_set():
            try:
                for known in await self._engine.containers({LABEL_AGENT: self._survey.node_id}):
                    container = await self._engine.inspect(known.id)
                    if container is not None:
                        self._recognise(container.task_id, container)
                self._reconciler.addresses_known.set()
            except SwarmError as error:
                if error.message != told:
                    told = error.message
                    _log.info("cannot see which addresses are in use yet: %s", told)
                await asyncio.sleep(LEARN_RETRY_SECONDS)


def _beside(network: Network, given: IPAddress) -> str:
    """Return the IPv6 address of what has this IPv4 one in a network; empty where it has none."""
    if network.prefix6 is None or not isinstance(given, IPv4Address):
        return ""
    return str(with_ipv4(network.prefix6, given))


def _publishes(task: Task) -> bool:
    return any(port.publish_mode == "ingress" or port.published_port for port in task.ports)


def _is_ready(topology: NodeTopology, wanted: Collection[str]) -> bool:
    """Whether a host has all these networks.

    Raises:
        ResourceExhausted: it cannot have one of them.

    """
    for network_id in (MESH, *wanted):
        if network_id in topology.problems:
            raise ResourceExhausted(topology.problems[network_id])
    return bool(topology.number) and all(network_id == MESH or _is_there(topology, network_id) for network_id in wanted)


def _is_there(topology: NodeTopology, network_id: str) -> bool:
    """Whether a host has a network, with keys if it is encrypted; those of before a restart are in its links."""
    segment = topology.segments.get(network_id)
    return segment is not None and (not segment.encrypted or topology.keys is None or bool(topology.keys))


# --- what this host can have ---


async def choose_networks(
    data: DataDir,
    config: WorkerConfig,
    engine: Engine,
    clock: Clock,
    elsewhere: Callable[[], Awaitable[None]] | None = None,
    *,
    alone: bool,
) -> Networks:
    """Return the best that can be had; what is missing for more is logged, and shown by `node inspect`.

    `elsewhere`: as for `DataPlane`. `alone`: whether no other worker programs this host's network.
    """
    missing = await lacking(config.docker_host) if alone else (_NOT_ALONE,)
    if missing:
        for sentence in missing:
            _log.warning("%s", sentence)
        return LocalNetworks(engine, config.node_id, missing)
    dns = ClusterDns(data.path / "resolv", random.SystemRandom())
    survey = HostSurvey(config.node_id, config.advertise_addr, await encryption())
    for sentence in survey.encryption.lacks:
        _log.info("%s", sentence)
    return DataPlane(engine, survey, dns, clock, data.path / "network.json", elsewhere)
