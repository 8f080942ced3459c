"""Secrets and configs that rotate, in other words: nothing is named that is gone, and nothing restarts for a file."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from common.model import Config, Secret, Task, TaskState
from common.model.container import ContainerSpec
from common.model.service import TaskSpec
from common.spec.constraints import unmet
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.fakes.world import replace
from tests.sim.placement import Complaint, same_ports

LABEL = "swarm.x.on-rotate"
_OLD = "swarm.x.version-of"


def misfiled(view: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain of a commit after which a task has not the files that it is to have, or has them in a wrong way."""
    stopped = {change.current.id for change in changes.changes if isinstance(change.old, Task) and change.old.live}
    for change in changes.changes:
        old, new = change.old, change.new
        if isinstance(new, Task) and not isinstance(old, Task):
            yield from _missing(view, new)
            yield from _needless(view, new, stopped)
        elif isinstance(new, Task) and isinstance(old, Task) and new.spec != old.spec:
            yield from _missing(view, new)
            yield from _given(view, old, new)
        elif new is None and isinstance(old, Secret | Config):
            uses = users(view, old.id, wholly=_OLD in old.spec.labels)
            yield from ((f"{old.name} ({old.id}) goes, which {why}", tasks) for why, tasks in uses)


def _missing(view: View, task: Task) -> Iterator[Complaint]:
    for each in files(task.spec.container_spec):
        if each not in view.secrets and each not in view.configs:
            yield f"{task.id} is to have {each}, which is not there", [task]


def _given(view: View, old: Task, new: Task) -> Iterator[Complaint]:
    """Check a task that stays and is made otherwise: nothing but its files may change, and as its service says."""
    service = view.services.get(new.service_id)
    how = service.spec.labels.get(LABEL, "restart") if service is not None else "restart"
    if how == "restart" or _nameless(old.spec) != _nameless(new.spec):
        yield f"{new.id} is changed while it runs, though its service says {how}", [new]
    if new.renewal is None or new.renewal.signal != how.partition(":")[2]:
        yield f"{new.id} is given files as {new.renewal}, though its service says {how}", [new]


def _needless(view: View, task: Task, stopped: Collection[str]) -> Iterator[Complaint]:
    """Complain of a new task that has only other files than the one that serves in its place, if that could stay.

    `stopped` are the tasks that were live until now.
    """
    service = view.services.get(task.service_id)
    if service is None or service.spec.labels.get(LABEL, "restart") == "restart" or task.job_iteration is not None:
        return
    if task.spec_version != service.spec_version:
        return
    for other in view.tasks.in_slot(task.service_id, task.slot, task.node_id if not task.slot else ""):
        serves = other.status.state is TaskState.RUNNING and not other.refused and not other.moving_to
        there = other.desired_state is TaskState.RUNNING or other.id in stopped
        only_files = other.spec != task.spec and _nameless(other.spec) == _nameless(task.spec)
        if serves and there and only_files and same_ports(other, service) and _may_stay(view, other, task):
            yield f"{task.id} is made for other files than {other.id} has, which could stay", [other, task]


def _may_stay(view: View, other: Task, task: Task) -> bool:
    node, placement = view.nodes.get(other.node_id), task.spec.placement
    if node is None or node.status.state == "down" or node.spec.availability == "drain":
        return False
    return not unmet(placement, node)


def files(container: ContainerSpec | None) -> set[str]:
    """Return the ids of the secrets and configs that a container has."""
    if container is None:
        return set()
    return {each.secret_id for each in container.secrets} | {each.config_id for each in container.configs}


def users(view: View, file_id: str, *, wholly: bool) -> Iterator[tuple[str, list[Task]]]:
    """Say which services name a secret or config now, and `wholly` also what may go back to it or still has it."""
    for service in view.services:
        specs = [service.spec, *([service.previous_spec] if wholly and service.previous_spec is not None else [])]
        if not service.pending_delete and any(file_id in files(spec.task_template.container_spec) for spec in specs):
            yield f"service {service.name} names", []
    for task in view.tasks if wholly else ():
        had = task.renewal.replaces if task.renewal is not None and task.renewing else ()
        if not task.status.state.terminal and file_id in {*files(task.spec.container_spec), *had}:
            yield f"task {task.id} has", [task]


def left_over(view: View) -> Iterator[str]:
    """Name the old versions that nothing uses."""
    for each in (*view.secrets, *view.configs):
        if _OLD in each.spec.labels and not list(users(view, each.id, wholly=True)):
            yield f"{each.name}: nothing uses this version any more"


def _nameless(spec: TaskSpec) -> TaskSpec:
    """Return a task's specification without what only says which content its files have, and where it may be placed."""
    container = spec.container_spec
    if container is None:
        return spec
    bare = replace(
        container,
        secrets=tuple(replace(each, secret_id="", secret_name="") for each in container.secrets),
        configs=tuple(replace(each, config_id="", config_name="") for each in container.configs),
    )
    return replace(spec, container_spec=bare, placement=None)
