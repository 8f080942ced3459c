"""Where tasks belong, in other words than the scheduler's: what is even, and which node is the best for one more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeAlias

from common.model import Node, Service, Task, TaskState
from common.model.container import ContainerSpec
from common.model.service import Replicated, Reservations, Resources, ServiceMode, ServiceSpec, TaskSpec
from common.model.update import ACTIVE, HALTED
from manager.domain.reservations import reservations_of
from manager.store.view import View
from tests.fakes.world import replace
from tests.sim.convergence import could_run

_FAILED = (TaskState.FAILED, TaskState.REJECTED)
_Rank: TypeAlias = Callable[[Node], tuple[float, ...]]


def uneven(view: View) -> Iterator[str]:
    """Name the moves that would make a service more even, of those whose tasks are to be spread and all run."""
    avoided = failed_on(view)
    for service in view.services:
        live = [task for task in view.tasks.of_service(service.id) if task.live]
        if not _is_spread(view, service) or any(task.status.state is not TaskState.RUNNING for task in live):
            continue
        counts = Counter(task.node_id for task in live)
        for task in live:
            moved = replace(task, spec=replace(task.spec, placement=service.spec.task_template.placement))
            for node in view.nodes:
                lower = counts[task.node_id] - counts[node.id] > 1
                if lower and (service.id, node.id) not in avoided and could_run(view, service, moved, node):
                    yield f"{service.name}: has {dict(counts)}, and could move {task.id} to {node.id}"


def _is_spread(view: View, service: Service) -> bool:
    template, status = service.spec.task_template, service.update_status
    once = template.restart_policy is not None and template.restart_policy.condition == "none"
    apart = template.placement is not None and template.placement.preferences
    if service.spec.mode.replicated is None or service.pending_delete or service.waits_for or once or apart:
        return False
    if status is not None and status.state in (*ACTIVE, *HALTED):
        return False
    labels = service.spec.labels
    strategy = labels.get("swarm.x.strategy") or view.cluster.spec.labels.get("swarm.x.strategy", "spread")
    return strategy == "spread" and not labels.keys() & {"swarm.x.affinity", "swarm.x.anti-affinity"}


def failed_on(view: View) -> set[tuple[str, str]]:
    """Return each service and node where a task of it has failed: nothing is moved there for some minutes."""
    return {(task.service_id, task.node_id) for task in view.tasks if task.status.state in _FAILED}


def probe(name: str, **labels: str) -> Service:
    """Make a service of one small task, placed as its labels `swarm.x.NAME` say."""
    resources = Resources(reservations=Reservations(memory_bytes=1))
    template = TaskSpec(container_spec=ContainerSpec(image="v1"), resources=resources)
    said = {f"swarm.x.{key.replace('_', '-')}": value for key, value in labels.items()}
    mode = ServiceMode(replicated=Replicated(replicas=1))
    return Service(id=name, spec=ServiceSpec(name=name, labels=said, mode=mode, task_template=template))


def best(view: View, service: Service) -> set[str]:
    """Return the ids of the nodes that are the best for the first task of a service."""
    task = Task(id="", service_id=service.id, slot=1, spec=service.spec.task_template)
    nodes = [node for node in view.nodes if could_run(view, service, task, node)]
    rank = _rank(view, service)
    least = min(map(rank, nodes), default=())
    return {node.id for node in nodes if rank(node) == least}


def _rank(view: View, service: Service) -> _Rank:
    labels = service.spec.labels
    packs = (labels.get("swarm.x.strategy") or view.cluster.spec.labels.get("swarm.x.strategy")) == "binpack"

    def rank(node: Node) -> tuple[float, ...]:
        there = [task for task in view.tasks.on_node(node.id) if _placed(task) and task.live]
        names = {task.service_name for task in there}
        against = _weight(labels.get("swarm.x.anti-affinity", ""), names)
        against -= _weight(labels.get("swarm.x.affinity", ""), names)
        return (against, -_share(view, node), -len(there)) if packs else (against, len(there))

    return rank


def _weight(text: str, names: set[str]) -> int:
    """Return the weight of the one service that is liked or avoided, if it is there."""
    name, _, weight = text.partition("=")
    return int(weight) if name in names else 0


def _share(view: View, node: Node) -> float:
    held = [reservations_of(task) for task in view.tasks.on_node(node.id) if _placed(task)]
    has = node.description.resources
    cores = sum(each.nano_cpus for each in held) / has.nano_cpus
    return max(cores, sum(each.memory_bytes for each in held) / has.memory_bytes)


def _placed(task: Task) -> bool:
    return TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING
