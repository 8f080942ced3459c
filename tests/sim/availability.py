"""Which tasks that serve may be stopped before others serve in their place, in its own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from common.model import Node, Service, Task, TaskState
from common.spec.slot_volumes import slot_volumes
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.sim.placement import Complaint

LABEL = "swarm.x.max-unavailable"
_ENFORCED = "shut down by the constraint enforcer"
# Tasks that may be on the move at once off a drained node, of one service and off one node.
_AT_ONCE = 10


def gaps(before: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Name the tasks that are stopped on purpose and leave a gap which nobody declared, or one too many.

    A declared gap is that of a stop-first update, or of a slot whose new task finds no place beside the old one. With
    `max-unavailable` so many replicas are missing at most after such a stop, whatever the others are missing for.
    """
    new = {change.current.id: change.new for change in changes.changes}
    for change in changes.changes:
        old, task = change.old, change.new
        if not isinstance(old, Task) or not isinstance(task, Task) or not _serves(before, old) or _serves(before, task):
            continue
        service = new.get(old.service_id) or before.services.get(old.service_id)
        if task.desired_state is not TaskState.SHUTDOWN or not isinstance(service, Service) or not _on_purpose(task):
            continue
        after = _after(before, new, service)
        if _node(before, task, "drain") and (service.spec.mode.replicated is None or _gets_no_other(after, task)):
            continue  # a global service's task goes with its node, and so does one whose policy allows no other start
        if any(other.status.state is TaskState.COMPLETE for other in _newer(after, task)):
            continue  # the one after it has done its work
        if any(_serves(before, each) and _slot(each) == _slot(task) for each in after):
            continue
        if not _declared(before, service, task) and not _has_data(task):
            yield f"{task.id} is stopped before another serves in its place", [task]
        yield from _too_many(before, service, after, task)


def _has_data(task: Task) -> bool:
    """Whether a slot's next task is to find data in which the one before may not write any more."""
    return bool(slot_volumes(task))


def paced(view: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain when more tasks are on the move at once to empty drained nodes, as others begin to move."""
    begun = [each.new for each in changes.changes if isinstance(each.new, Task) and each.old is None]
    for task in begun:
        others = view.tasks.in_slot(task.service_id, task.slot) if task.slot else ()
        left = {other.node_id for other in others if _leaves(view, other)}
        if not left:
            continue
        for node_id in left:
            moving = [each for each in view.tasks.on_node(node_id) if _leaves(view, each) and _followed(view, each)]
            if len(moving) > _AT_ONCE:
                yield f"{len(moving)} tasks leave {node_id} at once", moving
        mine = view.tasks.of_service(task.service_id)
        moving = [each for each in mine if _leaves(view, each) and _followed(view, each)]
        if len(moving) > _AT_ONCE:
            yield f"{len(moving)} tasks of {task.service_name} move at once", moving


def _leaves(view: View, task: Task) -> bool:
    return _serves(view, task) and _node(view, task, "drain")


def _followed(view: View, task: Task) -> bool:
    """Whether another task is on its way to take a task's place, and has not been refused one."""
    slot = view.tasks.in_slot(task.service_id, task.slot, task.node_id if not task.slot else "")
    return any(other.live and other.id != task.id and not other.status.err for other in slot)


def _too_many(before: View, service: Service, after: list[Task], task: Task) -> Iterator[Complaint]:
    text = service.spec.labels.get(LABEL, "")
    mode = service.spec.mode.replicated
    if not text or mode is None:
        return
    replicas = mode.replicas or 0
    most = max(1, replicas * int(text[:-1]) // 100) if text.endswith("%") else int(text)
    kept = {_slot(each) for each in after if each.desired_state < TaskState.REMOVE}
    serving = {_slot(each) for each in after if _serves(before, each)} & kept
    if len(serving) < replicas - most:
        yield f"{len(serving)} of {replicas} replicas of {service.name} serve, and {text} may be missing", [task]


def _after(before: View, new: Mapping[str, object], service: Service) -> list[Task]:
    there = [new.get(task.id, task) for task in before.tasks.of_service(service.id)]
    known = {task.id for task in before.tasks.of_service(service.id)}
    made = [task for key, task in new.items() if key not in known]
    return [task for task in (*there, *made) if isinstance(task, Task) and task.service_id == service.id]


def _declared(before: View, service: Service, task: Task) -> bool:
    status = service.update_status
    configs = [config for config in (service.spec.update_config, service.spec.rollback_config) if config]
    updating = status is not None and status.state in ("updating", "rollback_started", "paused", "rollback_paused")
    if updating and (len(configs) < 2 or any(config.order == "stop-first" for config in configs)):
        return True
    others = before.tasks.in_slot(task.service_id, task.slot, task.node_id)
    return any(other.live and other.status.state is TaskState.PENDING and other.status.err for other in others)


def _on_purpose(task: Task) -> bool:
    return task.status.message != _ENFORCED and task.job_iteration is None


def _serves(view: View, task: Task) -> bool:
    node = view.nodes.get(task.node_id)
    heard_of = isinstance(node, Node) and node.status.state != "down"
    return task.status.state is TaskState.RUNNING and task.desired_state is TaskState.RUNNING and heard_of


def _node(view: View, task: Task, availability: str) -> bool:
    node = view.nodes.get(task.node_id)
    return node is not None and node.spec.availability == availability


def _gets_no_other(after: list[Task], task: Task) -> bool:
    """Whether a task is to run once, or its slot's next task has ended and is not to be followed by another."""
    policy = task.spec.restart_policy
    if policy is None or policy.condition == "none":
        return policy is not None
    ended = any(other.status.state.terminal for other in _newer(after, task))
    return ended and (policy.condition == "on-failure" or bool(policy.max_attempts))


def _newer(after: list[Task], task: Task) -> list[Task]:
    """Return the tasks that came after one in its slot."""
    return [other for other in after if _slot(other) == _slot(task) and other.created_at > task.created_at]


def _slot(task: Task) -> tuple[int, str]:
    return task.slot, "" if task.slot else task.node_id
