"""Updates in other words: canaries, what may be replaced, what is said, and that no update goes on without progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from common.model import Service, Task, TaskState
from common.model.update import AwaitsServices, StopsFirst
from common.spec.constraints import unmet
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.fakes.world import replace
from tests.sim.placement import Complaint, same_ports
from tests.sim.volumes.moves import is_in_last_pass

CANARY = "swarm.x.canary"
DEADLINE = "swarm.x.progress-deadline"
_ENFORCED = "shut down by the constraint enforcer"
_LAG = 2.0
_PATIENCE = 10.0


class Canaries:
    """Watches how many tasks an update changes, and when it goes on. `continued`: when services were told to."""

    def __init__(self, continued: Mapping[str, float]) -> None:
        self._continued = continued

    def look(self, view: View, changes: ChangeSet, now: float) -> Iterator[Complaint]:
        for change in changes.changes:
            if isinstance(change.old, Service) and isinstance(change.new, Service):
                yield from ((text, []) for text in self._goes_on(change.old, change.new, now))
        tasks = [change.current for change in changes.changes if isinstance(change.current, Task)]
        for service_id in dict.fromkeys(task.service_id for task in tasks):
            yield from self._count(view, service_id)

    def _goes_on(self, old: Service, new: Service, now: float) -> Iterator[str]:
        """An update that holds at its canary goes on when it is told to, or when the canary's period is over."""
        before, after = old.update_status, new.update_status
        if old.spec != new.spec or before is None or after is None or before.promoted or not after.promoted:
            return
        if not after.state or before.state not in ("updating", "paused"):
            return  # it has ended, or was a rollback: what comes after it needs no canary
        period = float(new.spec.labels.get(f"{CANARY}-period", "0s")[:-1])
        told = now - self._continued.get(new.id, 0.0) < _LAG
        held = before.held_at and period and now >= before.held_at + period
        if CANARY in new.spec.labels and not told and not held:
            yield f"{new.id} goes beyond its canary by itself, which held since {before.held_at}"

    def _count(self, view: View, service_id: str) -> Iterator[Complaint]:
        """An update that has not gone beyond its canary has changed no more slots than asked for."""
        service = view.services.get(service_id)
        most = int(service.spec.labels.get(CANARY, "0")) if service is not None else 0
        status = service.update_status if service is not None else None
        if service is None or not most:
            return
        if status is not None and (status.promoted or status.state not in ("", "updating", "paused")):
            return
        live = [task for task in view.tasks.of_service(service_id) if task.live]
        changed = [task for task in live if task.spec_version == service.spec_version]
        others = [task for task in live if task.spec.container_spec != service.spec.task_template.container_spec]
        if others and len({task.slot or task.node_id for task in changed}) > most:
            yield f"{service_id}: more than its canary of {most} is changed", live


def unasked(view: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain of a task that serves as its service says, and is told to stop; and of what is not said of an update."""
    for change in changes.changes:
        old, new = change.old, change.new
        if isinstance(old, Service) and isinstance(new, Service) and not new.pending_delete:
            yield from ((text, []) for text in _numbered(old, new))
        if not isinstance(old, Task) or not isinstance(new, Task) or new.desired_state is not TaskState.SHUTDOWN:
            continue
        service = view.services.get(new.service_id)
        if service is None or service.pending_delete or not _serves(old) or new.status.state is not TaskState.RUNNING:
            continue
        slot = view.tasks.in_slot(new.service_id, new.slot, new.node_id if not new.slot else "")
        others = [other for other in slot if other.id != new.id and other.live]
        if any(_finds_no_place(other) for other in others):
            yield from _told(view, service, new)
        elif not any(_serves(other) for other in others) and _as_wanted(view, service, new):
            yield f"{new.id} is as {service.name} says and serves, and is told to stop", [new]


def _told(view: View, service: Service, task: Task) -> Iterator[Complaint]:
    """Where the old task must stop first, though the new was to run first, the update's status says so.

    An update that waits for other services says that instead, as it has one remark: what had begun before goes on.
    """
    config, status = service.spec.update_config, service.update_status
    if config is None or config.order != "start-first" or status is None or status.state != "updating":
        return
    node = view.nodes.get(task.node_id)
    stays = node is not None and node.spec.availability != "drain" and node.status.state != "down"
    stays = stays and task.status.message != _ENFORCED
    if stays and not task.moving_to and not isinstance(status.remark, StopsFirst | AwaitsServices):
        yield f"{task.id} stops first, and the update of {service.name} says only {status.remark}", [task]


def _as_wanted(view: View, service: Service, task: Task) -> bool:
    """Whether nothing speaks against a task: how it was made, its node, a move, another execution, being enforced."""
    if is_in_last_pass(view, task):
        return False
    node, template = view.nodes.get(task.node_id), service.spec.task_template
    if node is None or node.status.state == "down" or node.spec.availability == "drain" or task.moving_to:
        return False
    if task.status.message == _ENFORCED or task.job_iteration is not None or task.refused:
        return False
    if unmet(template.placement, node):
        return False
    return same_ports(task, service) and replace(task.spec, placement=template.placement) == template


def _numbered(old: Service, new: Service) -> Iterator[str]:
    """Every other specification has another number, and the one before is kept under its own."""
    if replace(old.spec, mode=new.spec.mode) == new.spec:
        if new.revision != old.revision:
            yield f"{new.id} has another revision, and the same specification"
    elif new.revision != old.revision + 1 or not new.history or new.history[0].spec != old.spec:
        yield f"{new.id} loses its revision {old.revision}"
    elif new.history[0].revision != old.revision or len(new.history) > 10:
        yield f"{new.id} has the history {[past.revision for past in new.history]}"


class Progress:
    """Remembers when an update last did anything: began with a task, had one come to run, or changed its state."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def look(self, view: View, changes: ChangeSet, now: float) -> Iterable[Complaint]:
        for change in changes.changes:
            old, new = change.old, change.new
            if isinstance(new, Service) and not (isinstance(old, Service) and _state(old) == _state(new)):
                self._at[new.id] = now
            elif isinstance(new, Task) and not (isinstance(old, Task) and _turn(old) == _turn(new)):
                service = view.services.get(new.service_id)
                if service is not None and new.spec_version == service.spec_version:
                    self._at[new.service_id] = now
        return ()

    def lacking(self, view: View, running_since: float, now: float) -> Iterator[str]:
        """Name the updates that should have failed, as nothing was done for too long while a manager ran."""
        for service in view.services:
            text, config = service.spec.labels.get(DEADLINE, ""), service.spec.update_config
            if not text or config is None or config.failure_action == "continue" or service.pending_delete:
                continue
            since = max(self._at.get(service.id, 0.0), running_since)
            if _state(service)[0] == "updating" and now > since + float(text[:-1]) + _PATIENCE:
                yield f"{service.name}: its update goes on without progress since {since}: {service.update_status}"


def _state(service: Service) -> tuple[str, int, float]:
    status = service.update_status
    return (status.state, service.spec_version, status.resumed_at) if status is not None else ("", 0, 0.0)


def _turn(task: Task) -> tuple[bool, bool, int]:
    return task.status.state >= TaskState.RUNNING, task.status.state.terminal, task.status.renewed


def _finds_no_place(task: Task) -> bool:
    return task.status.state is TaskState.PENDING and bool(task.status.err)


def _serves(task: Task) -> bool:
    return task.status.state is TaskState.RUNNING and task.desired_state is TaskState.RUNNING
