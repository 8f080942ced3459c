"""What rules a node out for a task (swarmkit `scheduler/filter.go`). Only the filters that a task needs are asked.

A filter answers for one node in its present load. What it refuses stays refused while tasks are only added: the
scheduler relies on that within one decision.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from common.errors import InvalidArgument
from common.model import Task
from common.model.service import Platform
from manager.schedule.load import ClusterLoad
from manager.schedule.nodeload import NodeLoad, host_ports
from manager.state.constraints import Constraint, parse_all
from manager.state.reservations import Available, reserved
from manager.state.view import View

Accepts: TypeAlias = Callable[[NodeLoad], bool]

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armhf": "arm", "i686": "386", "i386": "386"}
_BUILT_IN_NETWORKS = frozenset({"", "overlay"})
_BUILT_IN_VOLUMES = frozenset({"", "local"})
_BUILT_IN_LOGS = frozenset({"", "none"})


@dataclass(frozen=True, slots=True)
class Filter:
    """`explain` words its refusals for a person: one form for one node, one for several."""

    accepts: Accepts
    one: str
    many: str

    def explain(self, nodes: int) -> str:
        return self.one if nodes == 1 else self.many.format(nodes)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The filters of a group of tasks. Equal `key`s mean equal demands, whichever service they come from.

    `fixed` are those of the filters that ask the node's record alone and not its load; equal ones have equal
    `fixed_key`s. `wanted` is an attribute and the value of it that every node has which passes, if there is such a one.
    `invalid` says what no node can ever meet: a constraint that cannot be read.
    """

    filters: tuple[Filter, ...]
    key: Hashable
    fixed: tuple[Filter, ...] = ()
    fixed_key: Hashable = None
    invalid: str = ""
    wanted: tuple[str, str] | None = None

    def suits(self, load: NodeLoad) -> bool:
        """Whether the node could ever take one of these, as its record is."""
        return all(each.accepts(load) for each in self.fixed)

    def accepts(self, load: NodeLoad) -> bool:
        """Whether the node, already known to take tasks, takes one of these now."""
        for each in self.filters:  # noqa: SIM110 - the scheduler's innermost loop; all() costs a generator
            if not each.accepts(load):
                return False
        return True

    def explain(self, nodes: Iterable[NodeLoad]) -> str:
        """Word why none of `nodes` takes a task of these: every filter and how many nodes it refused, most first."""
        every = (_AGENT, _READY, *self.filters)
        refused = dict.fromkeys(every, 0)
        for load in nodes:
            refusal = next((each for each in every if not each.accepts(load)), None) if load.node else None
            if refusal is not None:
                refused[refusal] += 1
        counts = sorted(((each, count) for each, count in refused.items() if count), key=lambda pair: -pair[1])
        return "; ".join(each.explain(count) for each, count in counts)


def pipeline(task: Task, view: View, load: ClusterLoad) -> Pipeline:
    """Choose the filters that `task`, standing for its whole group, needs."""
    placement = task.spec.placement
    try:
        constraints = parse_all(placement.constraints) if placement else ()
    except InvalidArgument as error:
        return Pipeline((), ("invalid", error.message), invalid=error.message)
    drivers = tuple(_drivers(task, view))
    networks = [network for each in task.spec.networks if (network := view.networks.get(each.target)) is not None]
    encrypted = any(network.spec.encrypted for network in networks)
    ipv6 = any(network.spec.ipv6_enabled for network in networks)
    ports = tuple(host_ports(task))
    platforms = tuple(map(_normal, placement.platforms)) if placement else ()
    most = placement.max_replicas if placement else 0
    wanted = reserved(task)
    filters: list[Filter] = []
    fixed: list[Filter] = []
    if wanted.nano_cpus or wanted.memory_bytes or wanted.generic_resources:
        filters.append(_resources(task))
    if drivers:
        fixed.append(_plugins(drivers))
    if encrypted:
        fixed.append(_ENCRYPTS)
    if ipv6:
        fixed.append(_IPV6)
    if constraints:
        fixed.append(_constraints(constraints))
    if platforms:
        fixed.append(_platforms(platforms))
    if ports:
        filters.append(_host_ports(task))
    if most:
        filters.append(_max_replicas(load, task.service_id, most))
    fixed_key = (drivers, encrypted, ipv6, constraints, platforms)
    key = (fixed_key, wanted, ports, most, task.service_id if most else "")
    must = next((each.wanted for each in constraints if each.wanted is not None), None) if constraints else None
    return Pipeline((*fixed, *filters), key, tuple(fixed), fixed_key, wanted=must)


def _encrypts(load: NodeLoad) -> bool:
    assert load.node is not None
    return bool(load.node.description.encryption)


def _has_ipv6(load: NodeLoad) -> bool:
    assert load.node is not None
    return load.node.description.ipv6


_IPV6 = Filter(_has_ipv6, "no IPv6 for containers on 1 node", "no IPv6 for containers on {} nodes")
_ENCRYPTS = Filter(_encrypts, "no encrypted networks on 1 node", "no encrypted networks on {} nodes")


def _agent(load: NodeLoad) -> bool:
    return load.node is not None and load.node.agent


def _is_open(load: NodeLoad) -> bool:
    return load.open


_AGENT = Filter(_agent, "no worker agent on 1 node", "no worker agent on {} nodes")
_READY = Filter(_is_open, "1 node not available for new tasks", "{} nodes not available for new tasks")


def _resources(task: Task) -> Filter:
    wanted = reserved(task)

    def accepts(load: NodeLoad) -> bool:
        assert load.node is not None
        has = load.node.description.resources
        if wanted.nano_cpus and wanted.nano_cpus > has.nano_cpus - load.cpu:
            return False
        if wanted.memory_bytes and wanted.memory_bytes > has.memory_bytes - load.memory:
            return False
        return not wanted.generic_resources or generic_left(load).fits(wanted)

    def generic_left(load: NodeLoad) -> Available:
        assert load.node is not None
        left = Available.of(load.node, load.generic.values())
        left.nano_cpus, left.memory_bytes = wanted.nano_cpus, wanted.memory_bytes  # judged above
        return left

    return Filter(accepts, "insufficient resources on 1 node", "insufficient resources on {} nodes")


def _plugins(drivers: tuple[tuple[str, str], ...]) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        assert load.node is not None
        listed: dict[str, set[str]] = {}
        for plugin in load.node.description.engine.plugins:
            listed.setdefault(plugin.type, set()).add(plugin.name.removesuffix(":latest"))
        return all(name in listed[kind] for kind, name in drivers if kind in listed)

    return Filter(accepts, "missing plugin on 1 node", "missing plugin on {} nodes")


def _drivers(task: Task, view: View) -> Iterator[tuple[str, str]]:
    """Yield the kind and name of every driver that the task needs beyond what each engine has."""
    container = task.spec.container_spec
    for mount in container.mounts if container else ():
        driver = mount.volume_options.driver_config if mount.volume_options else None
        if mount.type == "volume" and driver is not None and driver.name not in _BUILT_IN_VOLUMES:
            yield "Volume", driver.name.removesuffix(":latest")
    for attachment in task.spec.networks:
        network = view.networks.get(attachment.target)
        if network is not None and network.spec.driver.name not in _BUILT_IN_NETWORKS:
            yield "Network", network.spec.driver.name.removesuffix(":latest")
    log = task.spec.log_driver
    if log is not None and log.name not in _BUILT_IN_LOGS:
        yield "Log", log.name.removesuffix(":latest")


def _constraints(constraints: tuple[Constraint, ...]) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        node = load.node
        assert node is not None
        return all(each.matches(node) for each in constraints)

    one = "scheduling constraints not satisfied on 1 node"
    return Filter(accepts, one, "scheduling constraints not satisfied on {} nodes")


def _platforms(platforms: tuple[tuple[str, str], ...]) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        assert load.node is not None
        os, architecture = _normal(load.node.description.platform)
        return any(
            wanted_os in ("", os) and wanted_architecture in ("", architecture)
            for wanted_os, wanted_architecture in platforms
        )

    return Filter(accepts, "unsupported platform on 1 node", "unsupported platform on {} nodes")


def _normal(platform: Platform) -> tuple[str, str]:
    architecture = platform.architecture.lower()
    return platform.os.lower(), _ARCHITECTURES.get(architecture, architecture)


def _host_ports(task: Task) -> Filter:
    wanted = tuple(host_ports(task))

    def accepts(load: NodeLoad) -> bool:
        return not any(load.port_taken(key, address) for key, address in wanted)

    return Filter(accepts, "host-mode port already in use on 1 node", "host-mode port already in use on {} nodes")


def _max_replicas(load: ClusterLoad, service_id: str, most: int) -> Filter:
    def accepts(node: NodeLoad) -> bool:
        return load.counts(service_id).get(node.id, 0) < most

    text = "max replicas per node limit exceeded"
    return Filter(accepts, text + " on 1 node", text + " on {} nodes")
