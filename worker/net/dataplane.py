"""The data plane: a `Networks` (worker.ports) that spans the cluster's hosts.

Everything that happens (a new world, a task that comes or goes, a change from outside) only notes that the host may
not be as planned. One loop plans and applies; many notes within a few milliseconds are one pass.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from common.clock import Clock
from common.errors import ResourceExhausted, SwarmError, Unavailable
from common.model.task import Task
from common.wire.messages import MESH
from worker.localnetworks import PREDEFINED
from worker.net import facts as host_facts
from worker.net.attachments import Attachments, addresses_of
from worker.net.balance import published
from worker.net.dns import ClusterDns
from worker.net.host import Host
from worker.net.names import GATEWAY_NETWORK, docker_name
from worker.net.netlink import Kernel, Seen
from worker.net.plan import HostPlan, Memory, plan
from worker.net.ports import PortReservations, text
from worker.net.site import HostFacts
from worker.net.watch import LinkWatch, RuleWatch
from worker.ports import (
    LABEL_AGENT,
    Attachment,
    Container,
    Engine,
    NetworkEndpoint,
    NetworkWorld,
    Phase,
)

COALESCE_SECONDS = 0.005
RETRY_SECONDS = 1.0
CHECK_SECONDS = 1.0
ATTACH_SECONDS = 30.0
# Other hosts hear of a task's end when this one does; none of them is later than this with its rules.
DRAIN_SECONDS = 0.15

_log = logging.getLogger(__name__)


class DataPlane:
    """`advertised` is the address that the operator gave for this host; `memory` a file for what leaving must undo."""

    def __init__(
        self, engine: Engine, node_id: str, clock: Clock, memory: Path, dns: ClusterDns, advertised: str = ""
    ) -> None:
        self._engine = engine
        self._node_id = node_id
        self._memory = memory
        self._dns = dns
        self._advertised = advertised
        self._world = NetworkWorld()
        self._attachments = Attachments(clock)
        self._ports = PortReservations()
        self._facts = HostFacts(node_id=node_id)
        self._memory_of_plans = Memory()
        self._plan: HostPlan | None = None
        self._peers: object = None
        self._bridges: set[int] = set()
        self._trouble = ""
        self._look = True
        self._unclean = True
        self._applying = asyncio.Lock()
        self._surveyed = asyncio.Event()
        self._changed = asyncio.Event()
        self._version = 0
        self._settled = -1
        self._news = asyncio.Condition()

    # --- Networks -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the host as planned until cancelled; then it stays as it is."""
        async with Kernel() as kernel:
            host = Host(self._engine, self._node_id, kernel, self._memory)
            rules = RuleWatch(
                host.table.changed_by_us,
                self._noting(host.table.lost, "the rules"),
                self._noting(host.docker_rules_lost, ""),
            )
            links = LinkWatch(lambda port, bridge: self._port_added(kernel, port, bridge), self._links_changed(host))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._dns.run())
                    group.create_task(rules.run())
                    group.create_task(links.run())
                    group.create_task(self._survey())
                    group.create_task(self._keep(host, kernel))
                    group.create_task(self._check(host))
            finally:
                self._ports.close()

    def update(self, world: NetworkWorld) -> None:
        self._world = world
        self._note()

    async def attach(self, task: Task) -> Attachment:
        names = [self._name(config.target) for config in task.spec.networks]
        for name in names:
            if name in PREDEFINED:
                return Attachment(mode=name)
        await self._surveyed.wait()
        self._dns.admit(task)
        try:
            async with asyncio.timeout(ATTACH_SECONDS):
                await self._give_addresses(task)
                await self._in_line()
        except TimeoutError:
            why = self._trouble or "its networks have no addresses for this host yet"
            raise Unavailable(f"the host's network is not ready after {ATTACH_SECONDS:.0f} s: {why}") from None
        return self._attachment(task)

    async def adopted(self, task: Task, container: Container) -> Attachment:
        self._dns.readmit(task)
        self._recognise(task.id, container)
        return self._attachment(task)

    async def started(self, task: Task, container: Container) -> None:  # noqa: ARG002 - it is connected already
        if task.id in self._attachments.draining:
            self._attachments.draining.discard(task.id)
            self._note()

    async def drain(self, task: Task) -> None:
        self._attachments.draining.add(task.id)
        self._note()
        try:
            async with asyncio.timeout(ATTACH_SECONDS):
                await self._in_line()
        except TimeoutError:
            _log.warning("task %s stops while the host's rules may still name it: %s", task.name, self._trouble)
        if task.service_id in self._world.endpoints and self._world.peers:
            await asyncio.sleep(DRAIN_SECONDS)

    async def release(self, task_id: str) -> None:
        self._dns.release(task_id)
        if self._attachments.release(task_id):
            self._note()

    async def remove_all(self) -> None:
        async with Kernel() as kernel:
            await Host(self._engine, self._node_id, kernel, self._memory).remove_all()
        self._dns.remove_all()

    def lacks(self) -> Collection[str]:
        found = [*self._plan.site.problems.values()] if self._plan is not None else []
        return (
            *found,
            *self._dns.lacks(),
            *(f"another program has port {text(port)}: it is not published here" for port in self._ports.held),
        )

    # --- tasks --------------------------------------------------------------------------------------------------------

    def _name(self, target: str) -> str:
        network = self._world.networks.get(target)
        return network.name if network is not None else target

    def _wanted(self, task: Task) -> list[str]:
        """Name what a task is to have addresses in: its networks, and the mesh unless all of them are internal."""
        ids = [config.target for config in task.spec.networks]
        publishes = any(port.publish_mode == "ingress" or port.published_port for port in task.ports)
        known = [self._world.networks[each] for each in ids if each in self._world.networks]
        shut = bool(known) and all(network.spec.internal for network in known)
        return ids if shut and not publishes else [MESH, *ids]

    async def _give_addresses(self, task: Task) -> None:
        while True:
            wanted = self._wanted(task)
            site = self._plan.site if self._plan is not None else None
            if site is not None:
                for network_id in wanted:
                    if network_id in site.problems:
                        raise ResourceExhausted(site.problems[network_id])
            ready = site is not None and site.number and all(i == MESH or i in site.segments for i in wanted)
            if not ready:
                async with self._news:
                    await self._news.wait()
                continue
            wait = self._attachments.take(task.id, wanted)
            if not wait:
                self._note()
                return
            await asyncio.sleep(wait)

    def _attachment(self, task: Task) -> Attachment:
        """Say what a task's container has or gets; the gateway first, whose route is the default one."""
        addresses = self._attachments.of(task.id)
        nameserver = self._dns.nameserver(addresses.keys())
        ends = []
        if MESH in addresses:
            ends.append(NetworkEndpoint(network=GATEWAY_NETWORK, network_id=MESH, address=addresses[MESH]))
        for config in task.spec.networks:
            network = self._world.networks.get(config.target)
            if network is not None and network.id in addresses:
                ends.append(
                    NetworkEndpoint(
                        network=docker_name(network),
                        network_id=network.id,
                        address=addresses[network.id],
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
        if container.phase is Phase.EXITED:
            return
        names = {docker_name(network): network.id for network in self._world.networks.values()}
        for network_id, address in addresses_of(container, {**names, GATEWAY_NETWORK: MESH}).items():
            self._attachments.hold(task_id, network_id, address)
        self._note()

    async def _survey(self) -> None:
        """Learn which addresses containers have from before, so that nobody gets one of them."""
        while not self._surveyed.is_set():
            try:
                for known in await self._engine.containers({LABEL_AGENT: self._node_id}):
                    container = await self._engine.inspect(known.id)
                    if container is not None:
                        self._recognise(container.task_id, container)
                self._surveyed.set()
            except SwarmError as error:
                _log.info("cannot see which addresses are in use yet: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def _note(self) -> None:
        self._version += 1
        self._changed.set()

    async def _in_line(self) -> None:
        """Wait until what was noted up to now is done."""
        version = self._version
        async with self._news:
            await self._news.wait_for(lambda: self._settled >= version)

    async def _keep(self, host: Host, kernel: Kernel) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(COALESCE_SECONDS)
            self._changed.clear()
            version = self._version
            try:
                await self._pass(host, kernel)
            except SwarmError as error:
                if error.message != self._trouble:
                    _log.warning("the host's network is not as planned: %s", error.message)
                self._trouble = error.message
                self._look = True
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)
            else:
                self._trouble = ""
                self._settled = version
            async with self._news:
                self._news.notify_all()

    async def _pass(self, host: Host, kernel: Kernel) -> None:
        """Plan and apply once."""
        seen = None
        if self._look or self._world.peers is not self._peers:
            self._look = False
            seen = await kernel.look()
            self._see(seen)
        self._ports.keep(set(published(self._world.endpoints.values(), ())) if self._world.node_number else ())
        facts = replace(self._facts, held=self._ports.held)
        attachments = self._attachments
        new = plan(self._world, attachments.addresses, attachments.draining, facts, self._memory_of_plans)
        attachments.fit(new.site)
        self._unclean = self._unclean or self._plan is None or self._plan.networks.keys() != new.networks.keys()
        self._plan = new
        self._dns.update(self._world, new.site, attachments.by_task, attachments.draining)
        async with self._applying:
            await host.apply(new, seen)
            if seen is not None:
                await host.set_hairpins(seen)

    def _see(self, seen: Seen) -> None:
        peers = self._world.peers
        self._peers = peers
        self._facts = host_facts.facts(self._node_id, seen, peers.values(), self._advertised)
        self._bridges = {index for name, index in seen.links.items() if name.startswith("oc-")}

    async def _check(self, host: Host) -> None:
        """Look regularly at what nobody tells of."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            async with self._applying:
                host.check_sysctls()
                await self._tidy(host)
            self._dns.check()
            if self._ports.held:
                self._note()

    async def _tidy(self, host: Host) -> None:
        """Remove the Docker networks that no task needs any more, once it is known which tasks there are."""
        if self._unclean and self._surveyed.is_set():
            try:
                self._unclean = not await host.remove_unused_networks()
            except SwarmError as error:
                _log.debug("unused networks stay for now: %s", error.message)

    # --- changes from outside -----------------------------------------------------------------------------------------

    def _noting(self, lost: Callable[[], None], what: str) -> Callable[[], None]:
        def note() -> None:
            if what:
                _log.warning("%s of this host were changed from outside: writing them anew", what)
            lost()
            self._note()

        return note

    def _links_changed(self, host: Host) -> Callable[[str], None]:
        def note(what: str) -> None:
            _log.debug("looking at the host's network: %s", what)
            if "deleted" in what:
                host.networks_lost()
            self._look = True
            self._note()

        return note

    async def _port_added(self, kernel: Kernel, port: int, bridge: int) -> None:
        if bridge in self._bridges:
            await kernel.hairpin(port)
