"""When each orchestrator decides: which changes concern which service, node or slot.

A key that is missing here leaves something undecided, a superfluous one costs time in proportion to the service's
tasks. So ordinary progress of a starting task has no key, unless something waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.model import Cluster, Config, Node, Secret, Service, Task, TaskState, Transfer, VolumeClaim
from common.model.update import ACTIVE
from manager.domain import executions
from manager.loops.loop import Rule
from manager.orchestrate import dependencies, hostnames, housekeeping, snapshots, volume_claims
from manager.orchestrate.housekeeping import slot_key
from manager.orchestrate.node_availability import availability_of
from manager.orchestrate.reconcile import drain, services
from manager.orchestrate.update import rotation
from manager.schedule import evacuation
from manager.store.changes import Change
from manager.store.view import View

_NODES_A_TRANSACTION = 50


def orchestration_rules() -> tuple[Rule, ...]:
    """Return the rules of all orchestrators, each for a `Loop` of its own."""
    return (
        Rule("services", (Service, Task, Node, Transfer), service_keys, all_services, services.decide),
        Rule("enforcer", (Node,), node_keys, all_nodes, housekeeping.enforce, limit=_NODES_A_TRANSACTION),
        Rule(
            "orphans", (Node,), lost_node_keys, all_task_nodes, housekeeping.give_up_orphans, limit=_NODES_A_TRANSACTION
        ),
        Rule("reaper", (Task, Service, Cluster), slot_keys, all_slots, housekeeping.reap_records),
        Rule(
            "rotation",
            (Secret, Config, Service, Task),
            rotation.concerned_versions,
            rotation.old_versions,
            rotation.decide,
        ),
        Rule("volume claims", (Task,), volume_claims.concerned_tasks, volume_claims.all_tasks, volume_claims.decide),
        Rule("snapshots", (Task, Transfer), snapshots.concerned_tasks, snapshots.waiting_tasks, snapshots.decide),
        Rule(
            "evacuation",
            (Node, VolumeClaim, Transfer),
            evacuation.concerned_nodes,
            evacuation.drained_nodes,
            evacuation.decide,
        ),
        Rule("hostnames", (Node,), hostnames.concerned_names, hostnames.all_names, hostnames.decide),
    )


# --- services ---


def service_keys(change: Change, view: View) -> Iterable[str]:
    """Name the services that a change concerns."""
    return (*_own_keys(change, view), *_waiting_for(change, view))


def _waiting_for(change: Change, view: View) -> Iterator[str]:
    """Name the services that wait for others which this change may concern: few at any time, mostly none."""
    waiting = view.services.waiting()
    value = change.current
    if not waiting or (isinstance(value, Task) and not _state_changed(change)):
        return
    if isinstance(value, Service | Task):
        name = value.name if isinstance(value, Service) else value.service_name
        yield from (service.id for service in waiting if name in dependencies.depends_on(service))
    elif isinstance(value, Node) and _node_changed(change):
        yield from (service.id for service in waiting)


def _state_changed(change: Change) -> bool:
    old, new = change.old, change.new
    return not isinstance(old, Task) or not isinstance(new, Task) or old.status.state is not new.status.state


def _own_keys(change: Change, view: View) -> Iterable[str]:
    value = change.current
    if isinstance(value, Service):
        return (value.id,)
    if isinstance(value, Task):
        return (value.service_id, *_services_to_move(change, view)) if _is_relevant(change, view) else ()
    if isinstance(value, Node):
        return _services_of_node(change, view)
    if isinstance(value, Transfer):
        return _services_of_move(value, view)
    return ()


def _services_of_move(transfer: Transfer, view: View) -> Iterator[str]:
    """Name the services whose data is moved: their tasks stop, or may start again."""
    names = {claim.service for name in transfer.volumes for claim in view.volume_claims.named(name)}
    yield from (service.id for name in sorted(names) for service in view.services.named(name))


def all_services(view: View) -> Iterable[str]:
    """Name all services, and those that are gone while tasks of theirs are not."""
    return dict.fromkeys([*(service.id for service in view.services), *(task.service_id for task in view.tasks)])


def _is_relevant(change: Change, view: View) -> bool:
    """Whether a task ended, is no longer wanted, is gone, or has reached a state that its slot or update waits for."""
    old, new = change.old, change.new
    if not isinstance(new, Task):
        return True
    if not isinstance(old, Task):
        return False
    if new.moving_to != old.moving_to or new.live != old.live or new.status.state.terminal != old.status.state.terminal:
        return True
    if (new.status.renewed, new.status.refused) != (old.status.renewed, old.status.refused):
        return True
    if new.status.state is TaskState.RUNNING and old.status.state is not TaskState.RUNNING:
        return _updating(new, view) or _replaces(new, view)
    return new.status.err != old.status.err and _replaces(new, view)


def _services_to_move(change: Change, view: View) -> Iterable[str]:
    """Name the services whose tasks may leave a drained node now, as one of its tasks has."""
    old, new = change.old, change.new
    if not isinstance(old, Task) or not old.live or (isinstance(new, Task) and new.live):
        return ()
    node = view.nodes.get(old.node_id)
    if node is None or node.spec.availability != "drain":
        return ()
    return dict.fromkeys(task.service_id for task in view.tasks.on_node(node.id) if task.live)


def _updating(task: Task, view: View) -> bool:
    service = view.services.get(task.service_id)
    status = service.update_status if service is not None else None
    if service is not None and drain.LABEL in service.spec.labels:
        return True  # a running task may let another one stop
    return status is not None and status.state in ACTIVE


def _replaces(task: Task, view: View) -> bool:
    """Whether another task of its slot is live beside it."""
    slot = view.tasks.in_slot(task.service_id, task.slot, task.node_id)
    return len(slot) > 1 and any(other.live for other in slot if other.id != task.id)


def _services_of_node(change: Change, view: View) -> Iterator[str]:
    """Name the services with tasks on a node that changed in a relevant way, and all global ones."""
    node = change.current
    if not _node_changed(change):
        return
    yield from dict.fromkeys(task.service_id for task in view.tasks.on_node(node.id))
    yield from (service.id for service in view.services if service.spec.mode.is_global)


def _node_changed(change: Change) -> bool:
    """Whether a node changed in its availability, in what constraints read, or in its resources."""
    old, new = change.old, change.new
    if not isinstance(old, Node) or not isinstance(new, Node):
        return True
    return availability_of(old) is not availability_of(new) or _facts(old) != _facts(new)


def _facts(node: Node) -> tuple[object, ...]:
    said = node.description
    return (
        node.spec.labels,
        node.spec.role,
        node.status.addr,
        node.name,
        node.hostname_taken,
        said.platform,
        said.engine,
        said.resources,
    )


# --- nodes ---


def node_keys(change: Change, _view: View) -> Iterable[str]:
    """Name the node whose tasks may no longer fit."""
    return (change.current.id,) if isinstance(change.new, Node) and _node_changed(change) else ()


def all_nodes(view: View) -> Iterable[str]:
    return [node.id for node in view.nodes]


def lost_node_keys(change: Change, _view: View) -> Iterable[str]:
    """Name the node that is gone, has no worker any longer, or was changed and is down."""
    node = change.current
    gone = change.new is None
    return (node.id,) if isinstance(node, Node) and (gone or node.left or node.status.state == "down") else ()


def all_task_nodes(view: View) -> Iterable[str]:
    """Name all nodes, and those that are gone while tasks on them are not."""
    return dict.fromkeys([*all_nodes(view), *(task.node_id for task in view.tasks)])


# --- slots ---


def slot_keys(change: Change, view: View) -> Iterable[str]:
    """Name the slots whose tasks a change turned into history."""
    value = change.new
    if isinstance(value, Cluster):
        return all_slots(view)
    if isinstance(value, Service):
        return _slots_of_executions(change, view)
    if not isinstance(value, Task):
        return ()
    if change.old is None:
        return (slot_key(value),) if len(view.tasks.in_slot(value.service_id, value.slot, value.node_id)) > 1 else ()
    return () if value.live else (slot_key(value),)


def _slots_of_executions(change: Change, view: View) -> Iterable[str]:
    """Name the slots of a job of which an execution is over: its records are history now."""
    old, new = change.old, change.new
    assert isinstance(new, Service)
    if not isinstance(old, Service) or executions.executions_under_way(old) <= executions.executions_under_way(new):
        return ()
    return dict.fromkeys(slot_key(task) for task in view.tasks.of_service(new.id) if not task.live)


def all_slots(view: View) -> Iterable[str]:
    """Name all slots that have history."""
    return dict.fromkeys(slot_key(task) for task in view.tasks if not task.live)
