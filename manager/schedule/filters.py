"""Filters: what rules a node out for a task (swarmkit `scheduler/filter.go`). Only those that a task needs are asked.

A filter judges one node with its present load. A refused node stays refused while tasks are only added: the scheduler
relies on that within one decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from common.errors import InvalidArgument
from common.model import Task
from common.model.service import Platform, Reservations, TaskSpec
from common.spec.constraints import Constraint, parse_all
from common.text.quantities import NANO_CPUS, human_size
from manager.domain.reservations import Available, reservations_of
from manager.schedule.load import ClusterLoad, group_of
from manager.schedule.node_load import NetworkRoom, NodeLoad, PortKey, host_ports
from manager.store.view import View

Accepts: TypeAlias = Callable[[NodeLoad], bool]

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armhf": "arm", "i686": "386", "i386": "386"}
_BUILT_IN_NETWORKS = frozenset({"", "overlay"})
_BUILT_IN_VOLUMES = frozenset({"", "local"})
_BUILT_IN_LOGS = frozenset({"", "none"})
_MOST_NAMED = 3


def _nothing(_: NodeLoad) -> Iterable[str]:
    return ()


@dataclass(slots=True, eq=False)
class Filter:
    """A condition that a node meets (`accepts`) or not; `one` and `many` word its refusals of one node and of several.

    Filters of equal `key`s refuse the same nodes, whichever tasks they were made for. `lacking` names what a refused
    node does not have, where a task may ask for several things.
    """

    accepts: Accepts
    one: str
    many: str
    key: Hashable
    lacking: Callable[[NodeLoad], Iterable[str]] = _nothing

    def explain(self, refused: Collection[NodeLoad], missing: Sequence[str] | None = None) -> str:
        """Word the refusal of these nodes for a person; `missing` is what they lack, if that is known already."""
        text = self.one if len(refused) == 1 else self.many.format(len(refused))
        named = ", ".join((self.missing(refused) if missing is None else missing)[:_MOST_NAMED])
        return f"{text}: {named}" if named else text

    def missing(self, refused: Iterable[NodeLoad]) -> list[str]:
        """Return what these nodes lack, what most of them lack first, then by name."""
        counts = Counter(name for load in refused for name in self.lacking(load))
        return sorted(counts, key=lambda name: (-counts[name], name))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A filter and the nodes that it refuses."""

    filter: Filter
    nodes: tuple[NodeLoad, ...]


@dataclass(slots=True)
class Pipeline:
    """The filters of a group of tasks: `fixed` ones ask the node's record only, `changing` ones its load.

    `constraints` are those of a fixed filter. `invalid` is the message about a constraint that cannot be read, which no
    node meets; empty if all can.
    """

    fixed: tuple[Filter, ...] = ()
    changing: tuple[Filter, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    invalid: str = ""

    @property
    def key(self) -> Hashable:
        """What the tasks demand: equal keys mean equal demands, whichever service they come from."""
        return self.fixed_key, tuple(each.key for each in self.changing), self.invalid

    @property
    def fixed_key(self) -> Hashable:
        """What they demand of a node's record."""
        return tuple(each.key for each in self.fixed)

    def wanted(self) -> tuple[str, str] | None:
        """Return (attribute, value) that a node must have to suit, None if no constraint demands one value."""
        return next((each.wanted for each in self.constraints if each.wanted is not None), None)

    def suits(self, load: NodeLoad) -> bool:
        """Whether the node's record allows one of these tasks, whatever its load."""
        for each in self.fixed:  # noqa: SIM110 - as in `has_room`
            if not each.accepts(load):
                return False
        return True

    def has_room(self, load: NodeLoad) -> bool:
        """Whether a node that is open, and suits, takes one of these tasks now."""
        for each in self.changing:  # noqa: SIM110 - the scheduler's innermost loop; all() costs a generator
            if not each.accepts(load):
                return False
        return True

    def without_nodes(self, nodes: frozenset[str], volume: str) -> Pipeline:
        """Return the filters that also refuse these nodes: their copy of `volume` must not be used."""
        return replace(self, changing=(*self.changing, _stale_copies(nodes, volume))) if nodes else self

    def on_node(self, node_id: str, name: str, volume: str) -> Pipeline:
        """Return the filters that also refuse all nodes but this one, which has the data of `volume`."""
        return replace(self, changing=(*self.changing, _elsewhere(node_id, name, volume)))

    def accepts(self, load: NodeLoad) -> bool:
        """Whether a node that is open takes one of these tasks now."""
        return self.suits(load) and self.has_room(load)

    def refusals(self, nodes: Iterable[NodeLoad]) -> list[Refusal]:
        """Return the first filter that refuses each of `nodes`; the filters that refuse most come first."""
        every = (_AGENT, _READY, *self.fixed, *self.changing)
        refused: dict[Filter, list[NodeLoad]] = {each: [] for each in every}
        for load in nodes:
            refusal = next((each for each in every if not each.accepts(load)), None) if load.node else None
            if refusal is not None:
                refused[refusal].append(load)
        told = [Refusal(each, tuple(loads)) for each, loads in refused.items() if loads]
        return sorted(told, key=lambda each: -len(each.nodes))

    def explain(self, nodes: Iterable[NodeLoad]) -> str:
        """Word why none of `nodes` takes one of these tasks: every filter and how many nodes it refused, most first."""
        return "; ".join(each.filter.explain(each.nodes) for each in self.refusals(nodes))


def pipeline(task: Task, view: View, load: ClusterLoad) -> Pipeline:
    """Choose the filters that `task`, standing for its whole group, needs."""
    placement = task.spec.placement
    try:
        constraints = parse_all(placement.constraints) if placement is not None else ()
    except InvalidArgument as error:
        return Pipeline(invalid=error.message)
    spec = task.spec
    mounts = spec.container_spec.mounts if spec.container_spec is not None else ()
    # A short way for tasks that ask for nothing: what a filter below looks at is named here, or it is never asked.
    asks_load = placement or spec.networks or spec.resources or task.ports
    asks_record = placement or spec.networks or spec.log_driver or mounts
    return Pipeline(
        tuple(_record_filters(task, constraints, view)) if asks_record else (),
        tuple(_load_filters(task, load)) if asks_load else (),
        constraints,
    )


def _record_filters(task: Task, constraints: tuple[Constraint, ...], view: View) -> Iterator[Filter]:
    """Yield the filters of a node's record: what the node, its engine and its host must be."""
    spec, placement = task.spec, task.spec.placement
    if drivers := tuple(_drivers(spec, view)):
        yield _plugins(drivers)
    if spec.networks:
        networks = [network for each in spec.networks if (network := view.networks.get(each.target)) is not None]
        if any(network.spec.encrypted for network in networks):
            yield _ENCRYPTS
        if any(network.spec.ipv6_enabled for network in networks):
            yield _IPV6
    if constraints:
        yield _constraints(constraints)
    if placement is not None and placement.platforms:
        yield _platforms(tuple(map(_normal, placement.platforms)))


def _load_filters(task: Task, load: ClusterLoad) -> Iterator[Filter]:
    """Yield the filters of a node's load: what must be free on it."""
    spec = task.spec
    if spec.resources is not None:
        wanted = reservations_of(task)
        if wanted.nano_cpus or wanted.memory_bytes or wanted.generic_resources:
            yield _resources(wanted)
    if task.ports and (ports := tuple(host_ports(task))):
        yield _host_ports(ports)
    for each in spec.networks:
        room = load.networks.get(each.target)
        if room is not None and room.is_short(len(load.nodes), len(load.pending.get(group_of(task), ())) or 1):
            yield _network_room(room)
    if spec.placement is not None and spec.placement.max_replicas:
        yield _max_replicas(load, task.service_id, spec.placement.max_replicas)


def _encrypts(load: NodeLoad) -> bool:
    assert load.node is not None
    return bool(load.node.description.encryption)


def _has_ipv6(load: NodeLoad) -> bool:
    assert load.node is not None
    return load.node.description.ipv6


_IPV6 = Filter(_has_ipv6, "no IPv6 for containers on 1 node", "no IPv6 for containers on {} nodes", "ipv6")
_ENCRYPTS = Filter(_encrypts, "no encrypted networks on 1 node", "no encrypted networks on {} nodes", "encrypts")


def _agent(load: NodeLoad) -> bool:
    return load.node is not None and load.node.agent


def _is_open(load: NodeLoad) -> bool:
    return load.open


_AGENT = Filter(_agent, "no worker agent on 1 node", "no worker agent on {} nodes", "agent")
_READY = Filter(_is_open, "1 node not available for new tasks", "{} nodes not available for new tasks", "ready")


def _resources(wanted: Reservations) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        assert load.node is not None
        resources = load.node.description.resources
        if wanted.nano_cpus and wanted.nano_cpus > resources.nano_cpus - load.cpu:
            return False
        if wanted.memory_bytes and wanted.memory_bytes > resources.memory_bytes - load.memory:
            return False
        return not wanted.generic_resources or generic_left(load).fits(wanted)

    def lacking(load: NodeLoad) -> Iterator[str]:
        assert load.node is not None
        resources = load.node.description.resources
        if wanted.nano_cpus and wanted.nano_cpus > resources.nano_cpus - load.cpu:
            yield f"{wanted.nano_cpus / NANO_CPUS:g} CPUs"
        if wanted.memory_bytes and wanted.memory_bytes > resources.memory_bytes - load.memory:
            yield f"{human_size(wanted.memory_bytes)} of memory"
        if wanted.generic_resources and (kind := generic_left(load).lacking(wanted)):
            yield kind

    def generic_left(load: NodeLoad) -> Available:
        assert load.node is not None
        left = Available.of(load.node, load.generic.values())
        left.nano_cpus, left.memory_bytes = wanted.nano_cpus, wanted.memory_bytes  # judged above
        return left

    one = "insufficient resources on 1 node"
    return Filter(accepts, one, "insufficient resources on {} nodes", ("resources", wanted), lacking)


def _plugins(drivers: tuple[tuple[str, str], ...]) -> Filter:
    def listed(load: NodeLoad) -> dict[str, set[str]]:
        assert load.node is not None
        found: dict[str, set[str]] = {}
        for plugin in load.node.description.engine.plugins:
            found.setdefault(plugin.type, set()).add(plugin.name.removesuffix(":latest"))
        return found

    def accepts(load: NodeLoad) -> bool:
        return next(missing(load), None) is None

    def missing(load: NodeLoad) -> Iterator[str]:
        known = listed(load)
        yield from (name for kind, name in drivers if kind in known and name not in known[kind])

    return Filter(accepts, "missing plugin on 1 node", "missing plugin on {} nodes", ("plugins", drivers), missing)


def _drivers(spec: TaskSpec, view: View) -> Iterator[tuple[str, str]]:
    """Yield the kind and name of every driver that the task needs and not every engine has."""
    container = spec.container_spec
    for mount in container.mounts if container else ():
        driver = mount.volume_options.driver_config if mount.volume_options else None
        if mount.type == "volume" and driver is not None and driver.name not in _BUILT_IN_VOLUMES:
            yield "Volume", driver.name.removesuffix(":latest")
    for attachment in spec.networks:
        network = view.networks.get(attachment.target)
        if network is not None and network.spec.driver.name not in _BUILT_IN_NETWORKS:
            yield "Network", network.spec.driver.name.removesuffix(":latest")
    log = spec.log_driver
    if log is not None and log.name not in _BUILT_IN_LOGS:
        yield "Log", log.name.removesuffix(":latest")


def _constraints(constraints: tuple[Constraint, ...]) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        node = load.node
        assert node is not None
        return all(each.matches(node) for each in constraints)

    def unmet(load: NodeLoad) -> Iterator[str]:
        node = load.node
        assert node is not None
        yield from (each.expression for each in constraints if not each.matches(node))

    one = "scheduling constraints not satisfied on 1 node"
    many = "scheduling constraints not satisfied on {} nodes"
    return Filter(accepts, one, many, ("constraints", *(each.expression for each in constraints)), unmet)


def _platforms(platforms: tuple[tuple[str, str], ...]) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        assert load.node is not None
        os, architecture = _normal(load.node.description.platform)
        return any(
            wanted_os in ("", os) and wanted_architecture in ("", architecture)
            for wanted_os, wanted_architecture in platforms
        )

    one = "unsupported platform on 1 node"
    return Filter(accepts, one, "unsupported platform on {} nodes", ("platforms", platforms))


def _normal(platform: Platform) -> tuple[str, str]:
    architecture = platform.architecture.lower()
    return platform.os.lower(), _ARCHITECTURES.get(architecture, architecture)


def _stale_copies(nodes: frozenset[str], volume: str) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        return load.id not in nodes

    text = f"an old or unfinished copy of volume {volume} (see 'volume ls') on"
    return Filter(accepts, text + " 1 node", text + " {} nodes", ("unfit", nodes))


def _elsewhere(node_id: str, name: str, volume: str) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        return load.id == node_id

    text = f"the data of volume {volume} is on {name} and not on"
    return Filter(accepts, text + " 1 node", text + " {} nodes", ("data", node_id))


def _host_ports(wanted: tuple[tuple[PortKey, str], ...]) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        return not any(load.port_taken(key, address) for key, address in wanted)

    one = "host-mode port already in use on 1 node"
    return Filter(accepts, one, "host-mode port already in use on {} nodes", ("ports", wanted))


def _network_room(room: NetworkRoom) -> Filter:
    def accepts(load: NodeLoad) -> bool:
        return room.has_room_on(load.id)

    assert room.network is not None, "asked only of a network that is short of addresses"
    text = f"no addresses of network {room.network.name} left for"
    return Filter(accepts, text + " 1 node", text + " {} nodes", ("network", room.network.id))


def _max_replicas(load: ClusterLoad, service_id: str, most: int) -> Filter:
    def accepts(node: NodeLoad) -> bool:
        return load.counts(service_id).get(node.id, 0) < most

    text = "max replicas per node limit exceeded"
    return Filter(accepts, text + " on 1 node", text + " on {} nodes", ("replicas", service_id, most))
