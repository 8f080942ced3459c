"""The whole of what a host is to have, as one value: a pure function of the world, its tasks and its own facts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from worker.net import balance, overlay, rules
from worker.net.balance import Memory
from worker.net.bridges import DockerNetwork, docker_networks
from worker.net.kernel import Item, Tunnel
from worker.net.ruleset import Ruleset
from worker.net.site import HostFacts, Site, site
from worker.ports import NetworkWorld

Port = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """All that the data plane has on a host.

    networks: Docker's networks, by name.
    tunnel, items, sysctls, ruleset: the kernel's part.
    ports: to be kept from other programs, as (protocol, port, address or "").
    reached: addresses that connections may have been sent to; those of the last plan that are not here are gone.
    """

    site: Site
    networks: Mapping[str, DockerNetwork] = field(default_factory=dict)
    tunnel: Tunnel | None = None
    items: frozenset[Item] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    ruleset: Ruleset | None = None
    ports: frozenset[Port] = frozenset()
    reached: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Purge:
    """Connections to cut: those that were sent to these addresses, and what stuck to these UDP ports before."""

    backends: tuple[str, ...] = ()
    udp_ports: tuple[int, ...] = ()


def plan(
    world: NetworkWorld,
    addresses: Collection[str],
    draining: Collection[str],
    facts: HostFacts,
    memory: Memory | None = None,
) -> HostPlan:
    """Plan a host.

    Args:
        world: what the manager says.
        addresses: those of the containers of this host.
        draining: tasks of this host that are about to stop.
        facts: what the host says.
        memory: the services' parts of the last plan, brought up to date; it changes how long this takes, nothing else.

    """
    here = site(world, facts)
    if not here.number:
        return HostPlan(site=here)
    services = balance.services_of(world.endpoints, here, draining, memory if memory is not None else {})
    ports = frozenset(balance.published(world.endpoints.values(), ()))
    lookups = (
        rules.base_lookups(here, addresses)
        | balance.service_lookups(services)
        | balance.port_lookups(ports - facts.held)
    )
    chains = dict(rules.base_chains(here))
    for service in services:
        chains |= service.chains
    return HostPlan(
        site=here,
        networks=docker_networks(here),
        tunnel=overlay.tunnel_link(here),
        items=overlay.kernel_items(here),
        sysctls=overlay.sysctls(here),
        ruleset=Ruleset(lookups, chains),
        ports=ports,
        reached=frozenset().union(*(service.reached for service in services)),
    )


def purge(old: HostPlan, new: HostPlan) -> Purge:
    """Say which connections end with a change: those to tasks that are gone, so that their clients hear it at once.

    UDP has no connections of its own. What a client sent to a port before it was published would go on to nobody.
    """
    begun = new.ports - old.ports
    return Purge(
        backends=tuple(sorted(old.reached - new.reached)),
        udp_ports=tuple(sorted({number for protocol, number, _ in begun if protocol == "udp"})),
    )
