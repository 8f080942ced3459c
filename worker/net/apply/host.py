"""Bring the host to a plan, step by step, and say what others had changed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable
from pathlib import Path

from common.errors import SwarmError, Unavailable
from worker.interfaces.engine import JSON, LABEL_AGENT, Engine, EngineError
from worker.net.apply import conntrack, docker_user
from worker.net.apply.netlink import Kernel, Seen
from worker.net.apply.nft import NftTables
from worker.net.apply.sysctls import Sysctls
from worker.net.apply.wireguard import WireGuard
from worker.net.plan.bridges import BRIDGE_OPTION, DockerNetwork
from worker.net.plan.host_plan import HostPlan, purge
from worker.net.plan.kernel import Item, Tunnel
from worker.net.plan.names import BRIDGE_PREFIX, GATEWAY_BRIDGE, TUNNEL

_TOLD = 3

_log = logging.getLogger(__name__)


class Host:
    """Applies plans. What of the last one may not hold any more is marked by the `…_lost` methods.

    `memory` is the file that keeps the host's own settings until the worker leaves; `encryption` as
    `NodeDescription.encryption`. `ipv6_refusal`: why containers cannot have IPv6, as far as that is up to Docker.
    `has_rules`: whether the tables are those of the last plan, whatever else has failed.
    """

    def __init__(self, engine: Engine, node_id: str, kernel: Kernel, memory: Path, encryption: str = "") -> None:
        self.tables = NftTables()
        self.wireguard = WireGuard(encryption, self._prepare_link)
        self._engine = engine
        self._node_id = node_id
        self._kernel = kernel
        self._sysctls = Sysctls(memory)
        self._plan: HostPlan | None = None
        self._networks: dict[str, DockerNetwork] | None = None
        self._links: tuple[Tunnel | None, frozenset[Item]] | None = None
        self._ends: tuple[int | None, int | None] | None = None
        self._docker_accepts = False
        self._ports: dict[int, str] = {}
        self._unmade: set[str] = set()
        self.ipv6_refusal = ""
        self.has_rules = False

    def networks_lost(self) -> None:
        """Note that Docker's networks may have changed."""
        self._networks = None

    def docker_rules_lost(self) -> None:
        """Note that somebody has changed the chain DOCKER-USER."""
        self._docker_accepts = False

    async def apply(self, plan: HostPlan, seen: Seen | None) -> None:
        """Bring the host to the plan. A step that fails does not keep the others from being done.

        `seen`: what the kernel has, where that was looked at since the last time.

        Raises:
            Unavailable: something could not be done; the first such thing.

        """
        before, self._plan = self._plan, plan
        troubles: list[str] = []
        if seen is not None:
            # Containers are still at it, so the engine has the network: no need to ask before it is mended.
            await _try(self._raise_bridges(plan, seen, in_use=True), troubles)
            self._follow_ends(seen)
        if self._networks != plan.networks:
            # Docker lets the host forward when it makes a network: what it was before is to be known by then.
            self._set_sysctls(plan, drift=False)
        await _try(self._make_networks(plan), troubles)
        if seen is not None:
            await _try(self._raise_bridges(plan, seen, in_use=False), troubles)
        await _try(self._encrypt(plan, seen), troubles)
        await _try(self._configure_links(plan, seen), troubles)
        await _try(self.tables.apply_way_back(plan.way_back), troubles)
        self._set_sysctls(plan, drift=False)
        await _try(self._accept_in_docker(plan), troubles)
        self.has_rules = await _try(self.tables.apply(plan.rulesets, plan.services), troubles)
        if before is not None:
            await _try(conntrack.cut(purge(before, plan)), troubles)
        if troubles:
            raise Unavailable(troubles[0])

    async def set_hairpins(self, seen: Seen) -> None:
        """Let all containers reach themselves, those too that were connected while nobody watched."""
        for port, bridge in seen.ports.items():
            await self.port_added(port, bridge, seen)

    async def port_added(self, port: int, bridge: int, seen: Seen) -> None:
        """Let the container behind a bridge's port reach itself, and remember where the port belongs."""
        names = [name for name, index in seen.links.items() if index == bridge and name.startswith(BRIDGE_PREFIX)]
        if names and self._ports.get(port) != names[0]:
            self._ports[port] = names[0]
            await self._kernel.hairpin(port)

    async def hairpin_lost(self, port: int) -> None:
        """Let the container behind a bridge's port reach itself again, which somebody has ended."""
        if port in self._ports:
            await self._kernel.hairpin(port)
            _tell("repaired", [f"link {port} of bridge {self._ports[port]} did not allow hairpin traffic"])

    def check_sysctls(self) -> None:
        """Set again what somebody has changed."""
        if self._plan is not None:
            self._set_sysctls(self._plan, drift=True)

    async def encryption_changed(self) -> bool:
        """Return whether an encrypted link has changed, or another peer has answered: no event tells of these."""
        return bool(self.wireguard.wanted) and await self.wireguard.changed()

    async def remove_unused_networks(self) -> bool:
        """Remove the Docker networks that are ours and not in the plan; return whether none is left.

        Raises:
            EngineDown: the engine does not answer.

        """
        wanted = self._plan.networks if self._plan is not None else {}
        clean = True
        for network in await self._engine.networks({LABEL_AGENT: self._node_id}):
            if network["Name"] in wanted:
                continue
            try:
                await self._remove_network(network)
            except EngineError as error:
                # Its containers are about to go, or are not ours: the next round tries again.
                _log.debug("network %s stays for now: %s", network["Name"], error.message)
                clean = False
        return clean

    async def remove_all(self) -> None:
        """Leave the host as it was.

        Raises:
            SwarmError: something could not be removed.

        """
        for network in await self._engine.networks({LABEL_AGENT: self._node_id}):
            await self._engine.remove_network(network["Id"])
        await self.tables.remove()
        await docker_user.remove()
        await self.wireguard.apply({}, (await self._kernel.look()).links)
        await self._kernel.apply(None, (), await self._kernel.look())
        await self._kernel.remove_bridges(BRIDGE_PREFIX)
        self._sysctls.restore()

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _make_networks(self, plan: HostPlan) -> None:
        if self._networks == plan.networks:
            return
        there = {each["Name"]: each for each in await self._engine.networks({LABEL_AGENT: self._node_id})}
        self._unmade.clear()
        failures = []
        unused = [each for name, each in there.items() if name not in plan.networks]
        for name, network in plan.networks.items():
            known = there.get(name)
            if known is None or not network.same_as(known):
                self._links = None  # routes name the bridge's address, and it is there only now
                try:
                    await self._make_room(network, unused)
                    await self._make_network(network, known)
                except SwarmError as error:
                    failures.append(error)
                    if known is None:
                        self._unmade.add(name)
        if failures:
            raise failures[0]
        self._networks = dict(plan.networks)

    async def _make_room(self, network: DockerNetwork, unused: Iterable[JSON]) -> None:
        """Remove old networks whose range overlaps a new one's: Docker refuses a second network in a range."""
        for each in unused:
            if network.overlaps(each):
                await self._remove_network(each)

    async def _make_network(self, network: DockerNetwork, known: JSON | None) -> None:
        try:
            if known is not None:
                await self._remove_network(known)
            await self._create(network)
        except EngineError as error:
            if known is not None and network.is_half_of(known):
                # Its containers stay, and new ones too have addresses that lead nowhere; all else would be an outage.
                _log.debug("network %s keeps its IPv6 until its containers are gone: %s", network.name, error.message)
                return
            if network.bridge == GATEWAY_BRIDGE and network.ipv6 is not None:
                # Without IPv6 it can do what it could before; with containers in it, it has to stay as it is.
                self.ipv6_refusal = f"Docker cannot make network {network.name} with IPv6: {error.message}"
                _log.warning("%s", self.ipv6_refusal)
            raise

    async def _remove_network(self, network: JSON) -> None:
        """Remove a network, and its bridge: Docker leaves one that it has not made, but found (`raise_bridge`)."""
        await self._engine.remove_network(network["Id"])
        await self._kernel.remove_bridge(network["Options"][BRIDGE_OPTION])

    async def _create(self, network: DockerNetwork) -> None:
        body = network.body(self._node_id)
        try:
            await self._engine.create_network(body)
        except EngineError as error:
            if "iptables" not in error.message:
                raise
            _log.warning("Docker's chains are gone (restart the engine to restore them): %s", error.message)
            await docker_user.make_dockers_chains()
            # Docker has left a bridge behind, and would find it instead of making it.
            await self._kernel.remove_bridge(network.bridge)
            await self._engine.create_network(body)

    async def _raise_bridges(self, plan: HostPlan, seen: Seen, *, in_use: bool) -> None:
        """Repair the bridges that somebody has deleted or changed, or has taken ports out of: those in use, or all."""
        now = await self._kernel.look() if self._links is None else seen
        self._ports = {port: name for port, name in self._ports.items() if port in now.links.values()}
        for name, network in plan.networks.items():
            ports = [port for port, bridge in self._ports.items() if bridge == network.bridge]
            if (in_use and not ports) or name in self._unmade:
                continue
            index = now.links.get(network.bridge)
            well = index is not None and network.bridge not in now.down
            if not well or now.addresses.get(str(network.gateway)) != network.mtu:
                _tell("repaired", [await self._kernel.raise_bridge(network.link, now, ports)])
                self._links = None
            elif strays := [port for port in ports if now.ports.get(port) != index]:
                await self._kernel.attach(network.bridge, strays)
                _tell("repaired", [f"link {port} was taken out of bridge {network.bridge}" for port in strays])

    def _follow_ends(self, seen: Seen) -> None:
        """Have the way back written anew when one of the links at its ends was made anew."""
        ends = (seen.links.get(GATEWAY_BRIDGE), seen.links.get(TUNNEL))
        if ends != self._ends:
            self._ends = ends
            self.tables.links_lost()

    async def _encrypt(self, plan: HostPlan, seen: Seen | None) -> None:
        """Make the links of encrypted networks; the routes over them come after."""
        settled = plan.wireguard == self.wireguard.wanted
        if plan.wireguard is None or (settled and seen is None):
            return
        now = await self._kernel.look()
        await self.wireguard.look(now.links)
        done = await self.wireguard.apply(plan.wireguard, now.links, now.down)
        if done:
            self._links = None
        if settled:
            _tell("the links of encrypted networks were changed from outside, repaired", done)

    async def _configure_links(self, plan: HostPlan, seen: Seen | None) -> None:
        wanted = (plan.tunnel, plan.items)
        settled = self._links == wanted
        if settled and seen is None:
            return
        found = seen if seen is not None and settled else await self._kernel.look()
        self._links = None
        done = await self._kernel.apply(plan.tunnel, plan.items, found)
        if settled:
            _tell("the overlay was changed from outside, repaired", done)
        self._links = wanted

    def _set_sysctls(self, plan: HostPlan, *, drift: bool) -> None:
        changed = self._sysctls.apply(plan.sysctls)
        if drift:
            _tell("settings were changed from outside, repaired", changed)

    def _prepare_link(self) -> None:
        """Apply the settings of a new link, before a peer sends over it."""
        if self._plan is not None:
            self._set_sysctls(self._plan, drift=False)

    async def _accept_in_docker(self, plan: HostPlan) -> None:
        if plan.topology.number and not self._docker_accepts:
            added = await docker_user.ensure(ipv6=plan.topology.mesh6 is not None)
            _tell("added to Docker's chain DOCKER-USER", added)
            if any(rule in docker_user.FALLBACK_RULES for rule in added):
                _log.warning(
                    "Docker's own rules are gone (iptables -F?): the cluster's containers do not need them; "
                    "restart the engine to restore them for all others"
                )
            self._docker_accepts = True


async def _try(work: Awaitable[None], troubles: list[str]) -> bool:
    """Do a step; say whether it was done."""
    try:
        await work
    except SwarmError as error:
        troubles.append(error.message)
        return False
    return True


def _tell(what: str, changes: Iterable[str]) -> None:
    found = list(changes)
    if found:
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        _log.warning("%s: %s%s", what, "; ".join(found[:_TOLD]), more)
