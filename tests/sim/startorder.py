"""What start order means, in its own words: a reference for the invariants and for the world at rest."""

from __future__ import annotations

from collections.abc import Iterator

from common.model import Node, Service, Task, TaskState
from common.spec.constraints import unmet
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.fakes.world import replace
from tests.sim.placement import Complaint, same_ports

LABEL = "swarm.x.depends-on"


def out_of_order(before: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Name the tasks with which a service or its update is begun though what it depends on is not up."""
    services = {change.current.id: change.new for change in changes.changes if isinstance(change.new, Service)}
    for change in changes.changes:
        task = change.new
        if change.old is not None or not isinstance(task, Task):
            continue
        service = services.get(task.service_id) or before.services.get(task.service_id)
        if isinstance(service, Service) and _begins(before, service, task):
            yield from (
                (f"{service.name} is begun before {name} is {c}", [task]) for name, c in unready(before, service)
            )


def _begins(before: View, service: Service, task: Task) -> bool:
    there = [other for other in before.tasks.of_service(service.id) if other.desired_state < TaskState.REMOVE]
    if task.spec_version != service.spec_version or (there and _rolls_back(before.services.get(service.id))):
        return False
    if any(other.spec_version == service.spec_version for other in there):
        return False
    live = [other for other in there if other.live] or there
    return not there or not all(_as_specified(before, service, other) for other in live)


def _rolls_back(service: Service | None) -> bool:
    status = service.update_status if service is not None else None
    return status is not None and status.state == "rollback_started"


def unready(view: View, service: Service) -> Iterator[tuple[str, str]]:
    """Name what a service depends on and is not as far as it must be."""
    for item in filter(None, service.spec.labels.get(LABEL, "").split(",")):
        name, _, condition = item.partition("=")
        other = next((each for each in view.services.named(name) if not each.pending_delete), None)
        if other is None or not _ready(view, other, condition):
            yield name, condition


_STATES = {
    "started": (TaskState.STARTING, TaskState.RUNNING, TaskState.COMPLETE),
    "healthy": (TaskState.RUNNING,),
    "completed": (TaskState.COMPLETE,),
}


def _ready(view: View, service: Service, condition: str) -> bool:
    """Whether each place of a service has a task, of its present execution if it is a job, that is so far."""
    iteration = service.job_status.job_iteration if service.job_status is not None else None
    places = {
        task.slot or task.node_id
        for task in view.tasks.of_service(service.id)
        if task.status.state in _STATES[condition]
        and task.job_iteration == iteration
        and _counts(view, task)
        and _as_specified(view, service, task)
    }
    mode = service.spec.mode
    if mode.global_ is not None or mode.global_job is not None:
        return len(places) >= sum(_takes(service, node) for node in view.nodes)
    if mode.replicated_job is not None:
        return len(places) >= (mode.replicated_job.total_completions or 0)
    assert mode.replicated is not None
    return len(places) >= (mode.replicated.replicas or 0)


def _counts(view: View, task: Task) -> bool:
    """Whether a task is there: completed and not on its way out, or live on a node that is heard of."""
    if task.status.state is TaskState.COMPLETE:
        return task.desired_state < TaskState.REMOVE
    return task.live and _heard_of(view.nodes.get(task.node_id))


def _as_specified(view: View, service: Service, task: Task) -> bool:
    """Whether a task is as its service is specified; where only placement differs, it must fit where it is."""
    template = service.spec.task_template
    if task.spec_version == service.spec_version:
        return True
    if not same_ports(task, service):
        return False
    if task.spec == template:
        return True
    node = view.nodes.get(task.node_id)
    return replace(task.spec, placement=template.placement) == template and node is not None and _fits(service, node)


def _takes(service: Service, node: Node) -> bool:
    return node.status.state == "ready" and node.spec.availability == "active" and _fits(service, node)


def _fits(service: Service, node: Node) -> bool:
    placement = service.spec.task_template.placement
    return not unmet(placement, node)


def _heard_of(node: Node | None) -> bool:
    return node is not None and node.status.state != "down"
