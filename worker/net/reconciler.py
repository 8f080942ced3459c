"""The loop that keeps a host as planned.

Everything that happens (a new world, a task that comes or goes, a change from outside) only notes that the host may
not be as planned. One loop plans and applies; many notes within a few milliseconds are one pass.

`Passes` knows which changes were noted, and up to which of them the host is as planned.

The kernel is asked what the host is like only when that may have changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from common.aio.steady import PAUSE_SECONDS
from common.errors import SwarmError
from worker.intake.addresses import text_of
from worker.intake.identifiers import identifier
from worker.intake.world import NetworkWorld
from worker.interfaces.engine import Engine
from worker.net.apply import conntrack
from worker.net.apply.host import Host
from worker.net.apply.netlink import Kernel, Seen
from worker.net.dns.service import ClusterDns
from worker.net.ipam import TaskAddresses
from worker.net.plan.host_plan import HostPlan, Memory, plan
from worker.net.plan.service_rules import published_ports
from worker.net.plan.topology import HostFacts
from worker.net.ports.loopback import LoopbackRelay
from worker.net.ports.reservations import PortReservations
from worker.net.watch import facts as host_facts
from worker.net.watch.capabilities import NO_ENCRYPTION, Encryption
from worker.net.watch.changes import HostChange, LinkWatch, RuleWatch
from worker.net.watch.conntrack_table import ConntrackTable
from worker.net.watch.firewall import Firewall

RETRY_SECONDS = 1.0
CHECK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class NetworkReconciler:
    """Keeps a host in line with `world` and `addresses`; `passes.note` tells it that one of them has changed.

    originals: the file that keeps the host's own settings until the worker leaves.
    addresses_known: set when the engine has said which addresses its containers have from before.
    plan: the newest one; `trouble`: why the host is not like it, empty when it is.
    """

    def __init__(
        self,
        engine: Engine,
        survey: HostSurvey,
        addresses: TaskAddresses,
        dns: ClusterDns,
        originals: Path,
    ) -> None:
        self.world = NetworkWorld()
        self.plan: HostPlan | None = None
        self.trouble = ""
        self.passes = Passes()
        self._relay = LoopbackRelay()
        self.ports = PortReservations(self._relay)
        self.conntrack = ConntrackTable()
        self.firewall = Firewall()
        self.addresses_known = asyncio.Event()
        self.survey = survey
        self._engine = engine
        self._originals = originals
        self._addresses = addresses
        self._dns = dns
        self._memory = Memory()
        self._unclean = True
        self._forgotten_cut = False
        self._applying = asyncio.Lock()

    async def run(self) -> None:
        """Keep the host as planned until cancelled; then it stays as it is."""
        async with Kernel() as kernel:
            host = Host(self._engine, self.survey.node_id, kernel, self._originals, self.survey.encryption.kind)
            rules = RuleWatch(
                host.tables.changed_by_us,
                self._noting(host.tables.lost, "the rules of this host were changed from outside: writing them again"),
                self._noting(host.docker_rules_lost),
                host.tables.process,
            )
            links = LinkWatch(
                lambda port, bridge: host.port_added(port, bridge, self.survey.seen),
                host.hairpin_lost,
                self._links_changed(host),
            )
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(rules.run())
                    group.create_task(links.run())
                    group.create_task(self._relay.run())
                    group.create_task(self._keep(host, kernel))
                    group.create_task(self._check(host))
            finally:
                self.ports.close()
                host.tables.close()

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def _keep(self, host: Host, kernel: Kernel) -> None:
        while True:
            number = await self.passes.begin()
            host.has_rules = settled = False
            try:
                await self._pass(host, kernel)
            except SwarmError as error:
                if error.message != self.trouble:
                    _log.warning("the host's network is not as planned: %s", error.message)
                self._try_again(error.message, RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the host's tasks must not lose their worker to a bug with a network
                _log.exception("unexpected error with the host's network: trying again later")
                self._try_again(f"internal error of the worker: {error!r}", PAUSE_SECONDS)
            else:
                self.trouble, settled = "", True
            await self.passes.end(number, settled=settled, ruled=host.has_rules)

    def _try_again(self, why: str, after: float) -> None:
        """Go over the whole host again in so many seconds, or with the next note."""
        self.trouble = why
        self.survey.expire()
        self.passes.again_in(after)

    async def _pass(self, host: Host, kernel: Kernel) -> None:
        """Plan and apply once."""
        seen = await self.survey.take(host, kernel, self.world)
        self.ports.keep(set(published_ports(self.world.endpoints.values())) if self.world.node_number else ())
        facts = replace(self.survey.facts, held=self.ports.held)
        addresses = self._addresses
        new = plan(self.world, addresses.in_use, addresses.draining, facts, self._memory)
        old, self.plan = self.plan, new
        if not new.topology.number and (old is None or not old.topology.number):
            return  # nobody has said yet what is to be here: what is from before the agent's restart stays
        addresses.fit(new.topology)
        self._dns.update(self.world, new.topology, addresses.by_task, addresses.draining)
        async with self._applying:
            # Not before: a look for what is not needed that is under way still goes by the plan of before.
            self._unclean = self._unclean or old is None or old.networks.keys() != new.networks.keys()
            await host.apply(new, seen)
            if seen is not None:
                await host.set_hairpins(seen)

    async def _check(self, host: Host) -> None:
        """Look regularly at what no event tells of."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            async with self._applying:
                host.check_sysctls()
                await self._tidy(host)
                await self._cut_forgotten()
                if await host.encryption_changed():
                    self.survey.expire()
                    self.passes.note()
            self._dns.check()
            self.conntrack.check()
            self._check_firewall()
            if self.ports.held:
                self.passes.note()
            await self.passes.tell()

    def _check_firewall(self) -> None:
        topology = self.plan.topology if self.plan is not None else None
        if topology is not None and topology.number:
            self.firewall.check(topology.tunnel_port)

    async def _tidy(self, host: Host) -> None:
        """Remove the Docker networks that no task needs any more, once it is known which tasks there are."""
        if self._unclean and self.addresses_known.is_set() and self.plan is not None and self.plan.topology.number:
            try:
                self._unclean = not await host.remove_unused_networks()
            except SwarmError as error:
                _log.debug("unused networks stay for now: %s", error.message)

    async def _cut_forgotten(self) -> None:
        """Cut, once, connections to containers that ended while no agent ran; plans tell of those that end later."""
        topology = self.plan.topology if self.plan is not None else None
        if self._forgotten_cut or topology is None or not topology.number or not self.passes.up_to_date:
            return
        if topology.keys is None or not self.addresses_known.is_set():
            return  # until then they cannot be told from containers that the world of before the restart lacks
        self._forgotten_cut = True
        assert self.plan is not None
        try:
            await conntrack.cut_forgotten(topology.ranges, _known_addresses(self.plan, self._addresses))
        except SwarmError as error:
            _log.warning("connections to containers that are gone may hang until they time out: %s", error.message)

    # --- changes from outside -----------------------------------------------------------------------------------------

    def _noting(self, lost: Callable[[], None], what: str = "") -> Callable[[], None]:
        def note() -> None:
            if what:
                _log.warning(what)
            lost()
            self.passes.note()

        return note

    def _links_changed(self, host: Host) -> Callable[[HostChange], None]:
        def note(change: HostChange) -> None:
            _log.debug("checking the host's network: %s", change.text)
            if change.gone:
                host.networks_lost()
            self.survey.expire()
            self.passes.note()

        return note


def _known_addresses(plan: HostPlan, addresses: TaskAddresses) -> set[str]:
    """Return all addresses that somebody has, as conntrack writes them."""
    return {*map(text_of, plan.reached), *map(text_of, addresses.in_use)}


# Many notes within this time are one pass.
COALESCE_SECONDS = 0.005


class Passes:
    """Numbers what is noted. One loop takes passes with `begin` and `end`; any number of others wait."""

    def __init__(self) -> None:
        self._noted = 0
        self._to_do = asyncio.Event()
        self._settled = -1
        self._ruled = -1
        self._ended = asyncio.Condition()

    @property
    def up_to_date(self) -> bool:
        """Whether all that was noted is done."""
        return self._settled >= self._noted

    def note(self) -> None:
        """Take note that something may not be as planned."""
        self._noted += 1
        self._to_do.set()

    def again_in(self, delay: float) -> None:
        """Have another pass in so many seconds, or with the next note."""
        asyncio.get_running_loop().call_later(delay, self._to_do.set)

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def begin(self) -> int:
        """Wait for something to do; return the number up to which this pass does it."""
        await self._to_do.wait()
        await asyncio.sleep(COALESCE_SECONDS)
        self._to_do.clear()
        return self._noted

    async def end(self, number: int, *, settled: bool, ruled: bool) -> None:
        """Say how far a pass came: with everything (`settled`), or with the rules at least (`ruled`)."""
        if settled:
            self._settled = number
        if settled or ruled:
            self._ruled = number
        await self.tell()

    async def tell(self) -> None:
        """Wake everybody who waits."""
        async with self._ended:
            self._ended.notify_all()

    # --- who waits ----------------------------------------------------------------------------------------------------

    async def in_line(self) -> None:
        """Wait until what was noted up to now is done."""
        number = self._noted
        async with self._ended:
            await self._ended.wait_for(lambda: self._settled >= number)

    async def ruled(self) -> None:
        """Wait until the rules are as noted up to now, even if something else cannot be as planned yet.

        So a task that is to stop does not wait for a network that waits for the task's own to be free.
        """
        number = self._noted
        async with self._ended:
            await self._ended.wait_for(lambda: self._ruled >= number)

    async def next(self) -> None:
        """Wait for the end of a pass, or of a regular check."""
        async with self._ended:
            await self._ended.wait()


class HostSurvey:
    """The facts that plans are made from, and the last look at the kernel that they come from.

    advertised: the address that the operator gave for this host, or empty.
    encryption: what carries encrypted networks here, or why nothing does.
    ipv6_refusal: why containers have no IPv6 here, empty if they have.
    """

    def __init__(self, node_id: str, advertised: str = "", encryption: Encryption = NO_ENCRYPTION) -> None:
        self.node_id = identifier(node_id)
        self.encryption = encryption
        self.facts = HostFacts(node_id=self.node_id)
        self.seen = Seen()
        self.ipv6_refusal = host_facts.ipv6_refusal()
        self._advertised = advertised
        self._peers: object = None
        self._due = True

    def expire(self) -> None:
        """Have the next `take` look again."""
        self._due = True

    async def take(self, host: Host, kernel: Kernel, world: NetworkWorld) -> Seen | None:
        """Look at the host if it, or who its peers are, may have changed since the last time; else return None."""
        if not self._due and world.peers is self._peers:
            return None
        self._due, self._peers = False, world.peers
        seen = await kernel.look()
        await host.wireguard.survey(seen.links)
        found = host_facts.facts(self.node_id, seen, world.peers.values(), self._advertised, self.facts.address)
        self.ipv6_refusal = host_facts.ipv6_refusal(found.mtu) or host.ipv6_refusal
        self.facts = replace(
            found, encrypts=bool(self.encryption.kind), answered=host.wireguard.answered, ipv6=not self.ipv6_refusal
        )
        self.seen = seen
        return seen
