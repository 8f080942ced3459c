"""Which node gets a new container: the scheduler's filters and ranking over tasks and unmanaged containers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from common.model import Task, TaskState, TaskStatus
from common.model.service import Reservations, Resources, TaskSpec
from common.net.addressing import one_address
from common.spec.extensions import CPUS_LABEL, MEMORY_LABEL, amount_of_label
from manager.api.containers.index import Claim, Port
from manager.api.containers.request import MARK_LABEL, PORTS_LABEL, RequestedContainer, host_port, ports_of_label
from manager.api.engine.types import Container
from manager.api.errors import EngineError
from manager.api.logs.stream import TASK_LABEL
from manager.domain.hostnames import node_name
from manager.schedule.filters import Pipeline, pipeline
from manager.schedule.load import ClusterLoad
from manager.schedule.node_load import NodeLoad
from manager.schedule.rank import Demand, Spread
from manager.store.view import View

_RUNNING = frozenset({"running", "paused", "restarting"})


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of one node besides the store: its engine's list of all containers, and whether it has the image.

    `volumes` are those of the asked-for ones that it has.
    """

    containers: tuple[Container, ...] = ()
    image: bool = False
    volumes: frozenset[str] = frozenset()


def place(
    view: View,
    wanted: RequestedContainer,
    seen: Mapping[str, NodeFacts],
    claims: Iterable[Claim],
    only: Collection[str] | None = None,
) -> str:
    """Return the id of the node that a container goes to, among those `seen` (and in `only`).

    A node that has its named volumes comes first, then one that has its image, then the one with the least to do.

    Raises:
        EngineError: 409, no node can take it; says why not.

    """
    _check_mesh(view, wanted)
    task = wanted.as_task()
    load = _load(view, seen, claims)
    rules = pipeline(task, view, load)
    nodes = [
        each for each in load.nodes.values() if each.open and each.id in seen and (only is None or each.id in only)
    ]
    if (data := _data_nodes(view, wanted)) is not None:
        nodes = [each for each in nodes if each.id in data]
        if not nodes:
            raise EngineError(409, _why_not_there(view, wanted, data))
    for preferred in _preferences(nodes, wanted, seen):
        chosen = _spread(preferred, rules)
        if chosen is not None:
            return chosen.id
    raise EngineError(409, f"no suitable node for the container ({_why(load, rules, nodes, only)})")


def _data_nodes(view: View, wanted: RequestedContainer) -> frozenset[str] | None:
    """Return the nodes that have all data that a container asks for; None if no node has any of it yet."""
    found = None
    for name in wanted.volumes:
        if copies := [copy for copy in view.volumes.named(name) if not copy.shared]:
            nodes = frozenset(copy.node_id for copy in copies if not copy.missing_since and copy.node_id in view.nodes)
            found = nodes if found is None else found & nodes
    return found


def _why_not_there(view: View, wanted: RequestedContainer, data: Collection[str]) -> str:
    named = ", ".join(wanted.volumes)
    where = ", ".join(sorted(node_name(view, node_id) for node_id in data))
    if not where:
        return f"no node has all of these volumes: {named}"
    return f"volume {named} is on {where}, which takes no containers now, or is not where the container is to be"


def _load(view: View, seen: Mapping[str, NodeFacts], claims: Iterable[Claim]) -> ClusterLoad:
    """Return the load of all tasks, unmanaged containers and containers that are being created."""
    load = ClusterLoad.of(view)
    for node_id, each in seen.items():
        load.leave_out_plain(node_id)  # these are newer than what its worker has reported
        for container in each.containers:
            if TASK_LABEL not in (container.get("Labels") or {}):
                load.add(_as_task(node_id, container))
    for number, claim in enumerate(claims):
        spec = _spec(claim.nano_cpus, claim.memory)
        load.add(_placement_task(f"claim-{number}", claim.node_id, spec, claim.ports))
    return load


def _as_task(node_id: str, container: Container) -> Task:
    """Return a task with an unmanaged container's load. An ended one keeps its ports, as it may start again."""
    labels = container.get("Labels") or {}
    runs = container.get("State") in _RUNNING or (container.get("State") == "created" and MARK_LABEL in labels)
    spec = _spec(amount_of_label(labels, CPUS_LABEL), amount_of_label(labels, MEMORY_LABEL)) if runs else TaskSpec()
    return _placement_task(container["Id"], node_id, spec, tuple(dict.fromkeys(_ports(container, labels))))


def _ports(container: Container, labels: Mapping[str, str]) -> Iterator[Port]:
    for port in container.get("Ports") or ():
        if number := port.get("PublicPort"):
            yield Port(port.get("Type", "tcp"), number, one_address(port.get("IP", "")))
    yield from ports_of_label(labels.get(PORTS_LABEL, ""))


def _spec(nano_cpus: int, memory: int) -> TaskSpec:
    return TaskSpec(resources=Resources(reservations=Reservations(nano_cpus=nano_cpus, memory_bytes=memory)))


def _placement_task(task_id: str, node_id: str, spec: TaskSpec, ports: tuple[Port, ...]) -> Task:
    return Task(
        id=task_id,
        spec=spec,
        node_id=node_id,
        status=TaskStatus(state=TaskState.RUNNING),
        desired_state=TaskState.RUNNING,
        ports=tuple(map(host_port, ports)),
    )


def _preferences(
    nodes: list[NodeLoad], wanted: RequestedContainer, seen: Mapping[str, NodeFacts]
) -> Iterator[list[NodeLoad]]:
    """Yield the nodes to try, the preferred ones first."""
    with_volumes = [node for node in nodes if wanted.volumes and seen[node.id].volumes >= set(wanted.volumes)]
    for group in (with_volumes, nodes):
        yield [node for node in group if seen[node.id].image]
        yield group


def _spread(nodes: Iterable[NodeLoad], rules: Pipeline) -> NodeLoad | None:
    chosen: list[NodeLoad] = []
    demand = Demand(rules.accepts, chosen.append, {}, frozenset())
    if not rules.invalid:
        Spread().among(nodes, demand).place(1)
    return chosen[0] if chosen else None


def _why(load: ClusterLoad, rules: Pipeline, nodes: list[NodeLoad], only: Collection[str] | None) -> str:
    explained = rules.explain(load.nodes.values() if only is None else nodes)
    silent = sum(1 for each in load.nodes.values() if each.open and each not in nodes) if only is None else 0
    text = explained or "it must share a node with another container, and that node takes no new containers"
    return f"{text}; {silent} did not answer" if silent else text


def _check_mesh(view: View, wanted: RequestedContainer) -> None:
    """Refuse a port that a service has on every node."""
    asked = {(port.protocol, port.number) for port in wanted.ports}
    for service in view.services if asked else ():
        for port in service.published_ports:
            if port.publish_mode == "ingress" and (port.protocol, port.published_port) in asked:
                raise EngineError(
                    409,
                    f"port {port.published_port}/{port.protocol} is already in use by service '{service.name}' on "
                    "every node: choose another one",
                )
