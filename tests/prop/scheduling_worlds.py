"""Small random clusters for the scheduler's property tests: few nodes, small resources, so that everything runs out."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from common.model import Network, Node, Task, TaskState, TaskStatus
from common.model.network import IpamConfig, NetworkSpec
from common.model.node import EngineDescription, NodeDescription, NodeResources, NodeSpec, NodeStatus, Plugin
from common.model.service import (
    DiscreteResourceSpec,
    GenericResource,
    NamedResourceSpec,
    NetworkAttachmentConfig,
    Placement,
    PlacementPreference,
    Platform,
    PortConfig,
    Reservations,
    Resources,
    SpreadOver,
    TaskSpec,
)
from manager.domain.reservations import requested_kinds
from manager.store.tables import Tables

T = TypeVar("T")

NOW = 10_000.0


def count(kind: str, value: int) -> GenericResource:
    return GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind=kind, value=value))


def thing(kind: str, value: str) -> GenericResource:
    return GenericResource(named_resource_spec=NamedResourceSpec(kind=kind, value=value))


def mostly(usual: T, *others: T) -> st.SearchStrategy[T]:
    """Draw the usual value six times as often as each of the others, so that worlds get past the first obstacle."""
    return st.sampled_from([usual] * 6 + list(others))


# Of networks that are short of parts: the subnet, and all the parts that it has.
SUBNETS = {"tiny": "10.1.0.0/28", "small": "10.2.0.0/27"}
PARTS = {"tiny": ("10.1.0.8/29",), "small": ("10.2.0.16/29", "10.2.0.24/29")}


@st.composite
def networks(draw: st.DrawFn, name: str, node_ids: list[str]) -> Network:
    """Make a network of which some nodes have parts; `large` has more of them than there are nodes."""
    holders = draw(st.lists(st.sampled_from(node_ids), unique=True))
    leases = dict(zip(holders, PARTS.get(name, ()), strict=False))
    subnets = (IpamConfig(subnet=SUBNETS.get(name, "10.0.0.0/16")),)
    return Network(id=name, spec=NetworkSpec(name=name), subnets=subnets, vni=1, leases=leases)


@st.composite
def nodes(draw: st.DrawFn, number: int) -> Node:
    labels = {}
    for name in ("zone", "rack"):
        if value := draw(st.sampled_from(["", "a", "b"])):
            labels[name] = value
    generic = [thing("gpu", f"uuid{i}") for i in range(draw(st.integers(0, 2)))]
    if disks := draw(st.integers(0, 2)):
        generic.append(count("disk", disks))
    return Node(
        id=f"node{number}",
        agent=draw(mostly(True, False)),
        spec=NodeSpec(labels=labels, availability=draw(mostly("active", "pause", "drain"))),
        status=NodeStatus(state=draw(mostly("ready", "down", "unknown"))),
        description=NodeDescription(
            platform=Platform(architecture=draw(mostly("x86_64", "aarch64")), os="linux"),
            resources=NodeResources(
                nano_cpus=draw(st.integers(0, 9)),
                memory_bytes=draw(st.integers(0, 9)),
                generic_resources=tuple(generic),
            ),
            engine=EngineDescription(
                plugins=tuple(
                    Plugin(type="Log", name=name) for name in draw(st.sets(st.sampled_from(["gelf", "fluentd"])))
                )
            ),
        ),
    )


@st.composite
def specs(draw: st.DrawFn) -> TaskSpec:
    few = st.sampled_from([0, 1, 2, 3])
    generic = tuple(count(kind, n) for kind in ("gpu", "disk") if (n := draw(mostly(0, 1, 2))))
    wanted = Reservations(nano_cpus=draw(few), memory_bytes=draw(few), generic_resources=generic)
    levels = draw(mostly((), ("node.labels.zone",), ("node.labels.zone", "node.labels.rack")))
    placement = Placement(
        constraints=draw(mostly((), ("node.labels.zone==a",), ("node.labels.zone!=a",))),
        preferences=tuple(PlacementPreference(spread=SpreadOver(spread_descriptor=level)) for level in levels),
        max_replicas=draw(mostly(0, 1, 2)),
        platforms=draw(mostly((), (Platform(architecture="amd64", os="linux"),))),
    )
    joined = draw(mostly((), ("large",), ("tiny",), ("small",), ("small", "tiny"), ("gone",)))
    return TaskSpec(
        resources=draw(st.sampled_from([None, Resources(reservations=wanted)])),
        placement=placement,
        networks=tuple(NetworkAttachmentConfig(target=name) for name in joined),
    )


def _published(mode: str = "host", **more: str) -> tuple[PortConfig, ...]:
    return (PortConfig(target_port=80, published_port=80, publish_mode=mode, **more),)


PORTS = mostly((), _published(), _published(host_ip="127.0.0.1"), _published(protocol="udp"), _published("ingress"))


@st.composite
def old_tasks(draw: st.DrawFn, number: int, node_ids: list[str]) -> Task:
    """Make a task that has been placed before: running, on its way, told to stop, ended or failed."""
    spec = draw(specs())
    generic = (
        [thing("gpu", "uuid0")]
        if spec.resources and requested_kinds(spec.resources.reservations or Reservations())
        else []
    )
    state = draw(st.sampled_from([TaskState.ASSIGNED, TaskState.RUNNING, TaskState.RUNNING, TaskState.FAILED]))
    return Task(
        id=f"old{number:03}",
        service_id=draw(st.sampled_from(["s0", "s1", "s2", "other"])),
        spec=spec,
        node_id=draw(st.sampled_from(node_ids)),
        ports=draw(PORTS),
        generic_resources=tuple(generic),
        status=TaskStatus(state=state),
        updated_at=NOW - draw(st.sampled_from([1, 299, 301])),
        desired_state=draw(
            st.sampled_from([TaskState.RUNNING, TaskState.RUNNING, TaskState.READY, TaskState.SHUTDOWN])
        ),
    )


@st.composite
def worlds(draw: st.DrawFn) -> Tables:
    """Make nodes, tasks placed before, a service that failed on a node, and tasks of up to three services that wait."""
    view = Tables()
    node_ids = [f"node{number}" for number in range(draw(st.integers(2, 6)))]
    for number in range(len(node_ids)):
        view.of(Node).put(draw(nodes(number)))
    for name in ("large", *SUBNETS):
        view.of(Network).put(draw(networks(name, node_ids)))
    for number in range(draw(st.integers(0, 10))):
        view.of(Task).put(draw(old_tasks(number, node_ids)))
    for number in range(draw(st.integers(0, 6))):
        status = TaskStatus(state=TaskState.REJECTED)
        rejected = Task(id=f"failed{number}", service_id="s0", node_id=node_ids[0], status=status, updated_at=NOW - 10)
        view.of(Task).put(rejected)
    for service in range(draw(st.integers(1, 3))):
        spec, ports = draw(specs()), draw(PORTS)
        is_global = draw(st.sampled_from([False, False, True]))
        for number in range(draw(st.integers(1, 7))):
            task = Task(
                id=f"new{service}{number:03}",
                service_id=f"s{service}",
                spec=spec,
                ports=ports,
                slot=0 if is_global else number + 1,
                node_id=node_ids[number % len(node_ids)] if is_global else "",
                status=TaskStatus(state=TaskState.PENDING),
                desired_state=draw(st.sampled_from([TaskState.RUNNING, TaskState.RUNNING, TaskState.READY])),
            )
            view.of(Task).put(task)
    return view
