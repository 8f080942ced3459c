"""What a world at rest must look like, written as an obviously right reference: every service as it was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from common.model import Node, Service, Task, TaskState
from common.model.naming import Version
from common.model.update import ACTIVE, HALTED
from common.spec.constraints import unmet
from manager.domain.reservations import Available, reservations_of
from manager.domain.update_status import waits_for
from manager.store.observation import describe
from manager.store.view import View
from tests.fakes.world import replace
from tests.sim import duetimes, scaling
from tests.sim.availability import LABEL
from tests.sim.cluster import Cluster
from tests.sim.placement import addresses_in, holders, joins, room
from tests.sim.rotations import left_over
from tests.sim.startorder import unready


def problems(cluster: Cluster) -> list[str]:
    """Return what is not as it should be; nothing when the cluster has converged."""
    view = cluster.view
    found = [problem for service in view.services for problem in _service(cluster, service)]
    found += left_over(view)
    found += [
        f"left over: {describe(t)}" for t in view.tasks if t.service_id not in view.services and _heard_of(view, t)
    ]
    found += [problem for node in view.nodes for problem in _node(cluster, node)]
    found += [f"not given up: {describe(t)}" for t in view.tasks if t.node_id and not _there(view, t) and not _ended(t)]
    return found


def _service(cluster: Cluster, service: Service) -> Iterator[str]:
    view = cluster.view
    if service.pending_delete:
        yield f"{service.name} should be gone"
        return
    if service.waits_for:
        if not list(unready(view, service)):
            yield f"{service.name}: {waits_for(service.waits_for)}, which is so"
        return
    live = [task for task in view.tasks.of_service(service.id) if task.live]
    if service.spec.mode.is_job:
        yield from _job(view, service, live)
        yield from _executions(view, service)
        yield from _history(view, service)
        return
    stuck = [task for task in live if task.status.state is not TaskState.RUNNING]
    for task in stuck:
        if task.status.state is not TaskState.PENDING or not task.status.err or _has_room(view, service, task):
            yield f"{service.name}: does not run: {describe(task)}"
    yield from _places(view, service, live)
    yield from _history(view, service)
    given_up = _given_up(view, service)
    yield from _unfinished(cluster, service, is_short=bool(stuck or given_up))
    status = service.update_status
    short = given_up and LABEL in service.spec.labels  # it waits until its deadline, if it has one
    if status is not None and status.state in ACTIVE and not stuck and not short:
        yield f"{service.name}: its update has not ended: {status}"
    halted = status is not None and status.state in HALTED  # by a failure that was on its way when the faults ended
    for task in (*live, *given_up):
        if not (stuck or short or halted) and _out_of_date(view, service, task):
            yield f"{service.name}: is out of date: {describe(task)}"
        if task.live:
            yield from _node_of(view, service, task, is_stuck=bool(stuck), may_stay=bool(stuck or short or halted))


def _unfinished(cluster: Cluster, service: Service, *, is_short: bool) -> Iterator[str]:
    """Check that nothing is left to do for a service: moves, balancing, scaling, unless tasks are missing anyway."""
    live = [task for task in cluster.view.tasks.of_service(service.id) if task.live]
    yield from (f"{service.name}: is still to move: {describe(task)}" for task in live if task.moving_to)
    if service.rebalancing:
        yield f"{service.name}: is still to be made even"
    if (
        scaling.LABEL in service.spec.labels
        and not is_short
        and cluster.loads.known(service.id)
        and not scaling.settled(service, cluster.loads.now(service.id))
    ):
        yield f"{service.name}: has not as many tasks as it needs: {service.autoscale_status}"


def _out_of_date(view: View, service: Service, task: Task) -> bool:
    """Whether a task is not as its service is specified, and nothing excuses that."""
    node = view.nodes.get(task.node_id)
    everywhere = service.spec.mode.global_ is not None
    return (
        not _as_specified(service, task)
        and not _is_paused(service, node)
        and not _placement_only(service, task, node)
        and not _serves_on(view, service, task)
        and not (everywhere and _may_return(view, service, task))
    )


def _node_of(view: View, service: Service, task: Task, *, is_stuck: bool, may_stay: bool) -> Iterator[str]:
    """Check that a live task is on a node that it may be on."""
    node = view.nodes.get(task.node_id)
    if node is None:
        return
    if node.status.state == "down" and not _may_return(view, service, task):
        yield f"{service.name}: is wanted on a node that is down: {describe(task)}"
    bounded = is_stuck and LABEL in service.spec.labels  # too many are missing as it is
    if node.spec.availability == "drain" and not bounded:
        yield f"{service.name}: is still on a drained node: {describe(task)}"
    if not may_stay and not _is_paused(service, node) and not _fits(service, node):
        yield f"{service.name}: breaks a constraint: {describe(task)}"


def _is_paused(service: Service, node: Node | None) -> bool:
    """Whether a global service's tasks stay as they are, since their node takes no new ones."""
    return node is not None and node.spec.availability == "pause" and service.spec.mode.global_ is not None


def _job(view: View, service: Service, live: list[Task]) -> Iterator[str]:
    """Check that a job has completed, but for what finds no place."""
    for task in live:
        if task.status.state is not TaskState.PENDING or _has_room(view, service, task):
            yield f"{service.name}: has not completed: {describe(task)}"
    assert service.job_status is not None
    if not service.job_status.last_execution:
        return  # it was not due yet
    done: set[int | str] = {
        task.slot or task.node_id
        for task in view.tasks.of_service(service.id)
        if task.status.state is TaskState.COMPLETE and task.job_iteration == service.job_status.job_iteration
    }
    job = service.spec.mode.replicated_job
    if job is not None and live:
        return  # those have the turn of the others
    wanted: set[int | str] = {node.id for node in view.nodes if job is None and _eligible(service, node)}
    wanted |= set(range(1, (job.total_completions or 0) + 1)) if job is not None else set()
    missing = wanted - done - {task.slot or task.node_id for task in (*live, *_given_up(view, service))}
    if missing:
        yield f"{service.name}: {sorted(map(str, missing))} have not completed"


def _places(view: View, service: Service, live: list[Task]) -> Iterator[str]:
    """Check how many tasks there are, and where; a slot may have two while one finds no place."""
    waiting = {task.slot for task in live if task.status.state is TaskState.PENDING}
    if service.spec.mode.global_ is not None:
        wanted = {node.id for node in view.nodes if _eligible(service, node)}
        wanted -= {task.node_id for task in _given_up(view, service)}
        allowed = {node.id for node in view.nodes if _keeps(service, node)}
        allowed |= {task.node_id for task in live if _may_return(view, service, task)}
        there = Counter(task.node_id for task in live)
        if (
            not wanted <= there.keys()
            or not there.keys() <= allowed
            or (max(there.values(), default=0) > 1 and not waiting)
        ):
            yield f"{service.name}: is on {dict(there)} instead of {sorted(wanted)}"
        return
    assert service.spec.mode.replicated is not None
    replicas = service.spec.mode.replicated.replicas
    slots = Counter(task.slot for task in (*live, *_given_up(view, service)))
    if len(slots) != replicas:
        yield f"{service.name}: {len(slots)} slots {sorted(slots)} instead of {replicas}"
    for slot, count in slots.items():
        if count > (2 if slot in waiting else 1):
            yield f"{service.name}: {count} tasks in slot {slot}"


def _may_return(view: View, service: Service, task: Task) -> bool:
    """Whether a task is rightly wanted on a node that is down: none has taken its place, or could."""
    node = view.nodes.get(task.node_id)
    if node is None or node.status.state != "down" or node.spec.availability == "drain" or not task.serves:
        return False
    if service.spec.mode.global_ is not None:
        return _fits(service, node)
    return any(other.live and not other.node_id for other in view.tasks.in_slot(service.id, task.slot))


def _serves_on(view: View, service: Service, task: Task) -> bool:
    """Whether a task stays because the one that was to replace it, started first, has failed for good."""
    others = view.tasks.in_slot(service.id, task.slot, "" if task.slot else task.node_id)
    newest = max(others, key=lambda each: each.created_at, default=task)
    failed = newest.status.state in (TaskState.FAILED, TaskState.REJECTED)
    return newest.spec_version == service.spec_version and failed and _is_last(newest)


def _given_up(view: View, service: Service) -> list[Task]:
    """Return the last tasks of the slots in which none is live, nor is to be: their restart policy says so."""
    slots: dict[tuple[int, str], list[Task]] = {}
    for task in view.tasks.of_service(service.id):
        if task.desired_state < TaskState.REMOVE and task.job_iteration == _iteration(service):
            slots.setdefault((task.slot, "" if task.slot else task.node_id), []).append(task)
    over = [tasks for tasks in slots.values() if not any(task.live for task in tasks)]
    last = [max(tasks, key=lambda task: task.created_at) for tasks in over]
    everywhere = service.spec.mode.global_ is not None or service.spec.mode.global_job is not None
    here = [task for task in last if not everywhere or _stands(view, task)]
    return [task for task in here if _is_last(task)]


def _stands(view: View, task: Task) -> bool:
    node = view.nodes.get(task.node_id)
    return node is not None and node.status.state == "ready" and node.spec.availability == "active"


def _is_last(task: Task) -> bool:
    policy, state = task.spec.restart_policy, task.status.state
    if policy is None or policy.condition == "none":
        return policy is not None
    if state is TaskState.COMPLETE:
        return policy.condition == "on-failure" or task.job_iteration is not None
    return bool(policy.max_attempts) and state in (TaskState.FAILED, TaskState.REJECTED)


def _iteration(service: Service) -> Version | None:
    return service.job_status.job_iteration if service.job_status is not None else None


def _executions(view: View, service: Service) -> Iterator[str]:
    """Check that no more past executions are known than are to be kept."""
    kept = int(service.spec.labels.get(f"{duetimes.LABEL}-history", "0"))
    status = service.job_status
    there = [task for task in view.tasks.of_service(service.id) if task.job_iteration and _heard_of(view, task)]
    alive = {status.job_iteration.index, *status.beside} if status is not None else set()
    past = {task.job_iteration.index for task in there if task.job_iteration} - alive
    if kept and len(past) > kept:
        yield f"{service.name}: executions {sorted(past)} are kept, more than {kept}"


def _history(view: View, service: Service) -> Iterator[str]:
    """Check that old records go: past the limit, and those that were to go.

    Of a job the newest of each execution under way stays.
    """
    alive = len(service.job_status.beside) + 1 if service.job_status is not None else 0
    limit = max(view.cluster.spec.orchestration.task_history_retention_limit, alive)
    known = [task for task in view.tasks.of_service(service.id) if _ended(task) or _heard_of(view, task)]
    places = {task.slot or task.node_id for task in known if task.live}
    records = Counter([*places, *(task.slot or task.node_id for task in known if not task.live)])
    yield from (f"{service.name}: {count} records in slot {slot}" for slot, count in records.items() if count > limit)
    for task in view.tasks.of_service(service.id):
        if task.desired_state >= TaskState.REMOVE and _heard_of(view, task):
            yield f"{service.name}: should be removed: {describe(task)}"


def _update_waits(view: View, task: Task) -> bool:
    """Whether a task may still be one that an update is to replace: for room, or for somebody to have it go on."""
    service = view.services.get(task.service_id)
    status = service.update_status if service is not None else None
    return status is not None and status.state in {*ACTIVE, *HALTED}


def _node(cluster: Cluster, node: Node) -> Iterator[str]:
    """Compare what runs on a host with what is wanted there."""
    host = cluster.hosts[node.id]
    if node.status.state not in (("down", "unknown") if host.dead else ("ready",)):
        yield f"{node.id} is {node.status.state}"
    if host.dead:
        return
    wanted = {t.id for t in cluster.view.tasks.on_node(node.id) if t.live and t.status.state is TaskState.RUNNING}
    if wanted != host.containers.keys():
        yield f"{node.id} runs {sorted(host.containers)} instead of {sorted(wanted)}"
    for task_id, made in host.containers.items():
        task = cluster.view.tasks.get(task_id)
        if task is not None and task.spec != made.spec and not (task.refused and _update_waits(cluster.view, task)):
            yield f"{node.id} runs {task_id} with other files than {describe(task)} is to have"


def _has_room(view: View, service: Service, task: Task) -> bool:
    """Whether a pending task could run on some node: then it should."""
    nodes = [view.nodes.get(task.node_id)] if task.node_id else list(view.nodes)
    return any(node is not None and could_run(view, service, task, node) for node in nodes)


def could_run(view: View, service: Service, task: Task, node: Node) -> bool:
    placement = task.spec.placement
    there = [other for other in view.tasks.on_node(node.id) if not other.status.state.terminal and other.id != task.id]
    if node.status.state != "ready" or node.spec.availability != "active":
        return False
    if unmet(placement, node):
        return False
    mine = [other for other in there if other.service_id == service.id]
    if placement and placement.max_replicas and len(mine) >= placement.max_replicas:
        return False
    for network in (network for network in view.networks if joins(task, network)):
        having = holders(view, network)
        if node.id not in having and len(having) >= room(network):
            return False
        part = network.leases.get(node.id)
        if part and sum(joins(other, network) for other in there) >= addresses_in(part, network):
            return False
    taken = {port.published_port for other in there for port in other.ports if port.publish_mode == "host"}
    if any(port.published_port in taken for port in task.ports if port.publish_mode == "host"):
        return False
    return Available.of(node, there).fits(reservations_of(task))


def _as_specified(service: Service, task: Task) -> bool:
    return task.spec == service.spec.task_template


def _placement_only(service: Service, task: Task, node: Node | None) -> bool:
    placement = service.spec.task_template.placement
    same = replace(task.spec, placement=placement) == service.spec.task_template
    return same and node is not None and _fits(service, node)


def _fits(service: Service, node: Node) -> bool:
    placement = service.spec.task_template.placement
    return not unmet(placement, node)


def _eligible(service: Service, node: Node) -> bool:
    return _keeps(service, node) and node.spec.availability == "active"


def _keeps(service: Service, node: Node) -> bool:
    return node.spec.availability != "drain" and node.status.state == "ready" and _fits(service, node)


def _heard_of(view: View, task: Task) -> bool:
    node = view.nodes.get(task.node_id)
    return node is None or node.status.state != "down"


def _there(view: View, task: Task) -> bool:
    return task.node_id in view.nodes


def _ended(task: Task) -> bool:
    return task.status.state.terminal
