"""Makes the timeline's entries from changes of the store. Pure. No entry has the value of an environment variable.

The entry of a service says in words what differs between its specifications. Values are included if they are short and
not secret (image, replicas, resources); of everything else, above all environment variables, only names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from common.model import Config, Network, Node, Secret, Service, StoredObject, Task, TaskState
from common.model.container import ContainerSpec
from common.model.service import STACK_LABEL, PortConfig, Resources, ServiceSpec
from common.model.update import ACTIVE, HALTED, UpdateState
from common.text.quantities import NANO_CPUS, human_size
from manager.domain.clock_offset import clock_words
from manager.domain.hostnames import node_name
from manager.domain.update_status import halted, message, state_of
from manager.overview.marks import FAILURES, failed
from manager.overview.rows import LONGEST_ERROR, short_image
from manager.overview.timeline import Entry, Kind, Level, Named
from manager.store.changes import Change
from manager.store.view import View

_NOUNS: dict[type[StoredObject], str] = {Config: "config", Network: "network", Secret: "secret"}


def entries_of(change: Change, view: View, now: float, by: str = "") -> Iterator[Entry]:
    """Yield the entries of a change; none for internal bookkeeping.

    `by` is who asked for the transaction, `now` the time for removed objects. Names are looked up in `view`.
    """
    maker = _MAKERS.get(type(change.current))
    if maker is None:
        return
    at = change.new.updated_at if change.new is not None else now
    yield from maker(change, view, at, by)


# --- tasks ---


def is_silent(old: Task, new: Task) -> bool:
    """Whether a change of a task has no entry, like most."""
    before, after = old.status, new.status
    if after.state is before.state:
        return after.err == before.err
    return after.state is not TaskState.PENDING and after.state not in FAILURES


def _of_task(change: Change, view: View, at: float, _: str) -> Iterator[Entry]:
    old, new = change.old, change.new
    assert isinstance(old, Task | None)
    if not isinstance(new, Task):
        return
    if failed(old, new):
        verb = "was rejected" if new.status.state is TaskState.REJECTED else "failed"
        text = f"{task_name(view, new)} {verb}{_on(view, new)}{_because(new)}"
        yield Entry(
            at=at, kind=Kind.TASK_FAILED, level=Level.ERROR, text=text, object=named(new), related=_around(view, new)
        )
    elif _is_stopped(old, new):
        text = f"{task_name(view, new)} is stopped{_on(view, new)}: {new.status.err[:LONGEST_ERROR]}"
        yield Entry(
            at=at, kind=Kind.TASK_STOPPED, level=Level.WARNING, text=text, object=named(new), related=_around(view, new)
        )
    elif new.finds_no_node and (old is None or not old.finds_no_node):
        text = f"{task_name(view, new)} waits: {new.status.err[:LONGEST_ERROR]}"
        yield Entry(
            at=at, kind=Kind.TASK_WAITS, level=Level.WARNING, text=text, object=named(new), related=_around(view, new)
        )


def _is_stopped(old: Task | None, new: Task) -> bool:
    """Whether the manager stops a task and says why: what no longer fits on its node (`housekeeping.enforce`)."""
    if old is None or not old.live or new.live or not new.placed:
        return False
    return new.status.err not in ("", old.status.err)


def _on(view: View, task: Task) -> str:
    return f" on {node_name(view, task.node_id)}" if task.node_id else ""


def _because(task: Task) -> str:
    error = task.status.err or task.status.message
    return f": {error[:LONGEST_ERROR]}" if error else ""


def task_name(view: View, task: Task) -> str:
    """Return the name that people know a task by: `web.3`, or `web.w1` for a global service's task on node w1."""
    return f"{task.service_name or task.service_id}.{task.slot or node_name(view, task.node_id)}"


def _around(view: View, task: Task) -> tuple[Named, ...]:
    """Name a task's service, its stack and its node."""
    service, node = view.services.get(task.service_id), view.nodes.get(task.node_id)
    found = [Named(kind="service", id=task.service_id, name=task.service_name)]
    if service is not None:
        found += _stack(service.spec.labels)
    if node is not None:
        found.append(named(node))
    return tuple(found)


def _stack(labels: Mapping[str, str]) -> Iterable[Named]:
    stack = labels.get(STACK_LABEL, "")
    return (Named(kind="stack", name=stack),) if stack else ()


def named(value: StoredObject) -> Named:
    """Name an object."""
    if isinstance(value, Task):
        return Named(kind="task", id=value.id, name=f"{value.service_name}.{value.slot or value.node_id}")
    kind = _NOUNS.get(type(value)) or type(value).__name__.lower()
    return Named(kind=kind, id=value.id, name=str(getattr(value, "name", "")))


# --- services ---


def _of_service(change: Change, _: View, at: float, by: str) -> Iterator[Entry]:
    old, new = change.old, change.new
    assert isinstance(old, Service | None)
    assert isinstance(new, Service | None)
    current = new or old
    assert current is not None

    def entry(kind: Kind, text: str, level: Level = Level.INFO, who: str = "") -> Entry:
        return Entry(
            at=at,
            kind=kind,
            level=level,
            text=text,
            object=named(current),
            related=tuple(_stack(current.spec.labels)),
            by=who,
        )

    name = current.name
    if old is None:
        yield entry(Kind.SERVICE_CREATED, f"{name} was created", who=by)
    elif new is None or new.pending_delete:
        if not old.pending_delete:
            yield entry(Kind.SERVICE_REMOVED, f"{name} was removed", who=by)
    else:
        yield from _of_spec(old, new, entry, by)
        yield from _of_update(old, new, entry, by)


def _of_spec(old: Service, new: Service, entry: Callable[..., Entry], by: str) -> Iterator[Entry]:
    scaled = new.autoscale_status
    if scaled is not None and scaled != old.autoscale_status and not scaled.by_hand and scaled.message:
        text = f"{new.name} was scaled from {scaled.previous} to {scaled.replicas}: {scaled.message}"
        yield entry(Kind.SERVICE_SCALED, text)
    elif old.spec != new.spec:
        differences = "; ".join(spec_changes(old.spec, new.spec))
        returned = state_of(new) is UpdateState.ROLLBACK_STARTED and state_of(old) is not UpdateState.ROLLBACK_STARTED
        verb = "was rolled back" if returned else "was changed"
        yield entry(Kind.SERVICE_CHANGED, f"{new.name} {verb}: {differences}", who=by)


def _of_update(old: Service, new: Service, entry: Callable[..., Entry], by: str) -> Iterator[Entry]:
    before, now = state_of(old), state_of(new)
    status = new.update_status
    if status is None or before is now:
        return
    text = f"{new.name}: {halted(status) if now in HALTED else message(status)}"
    match now:
        case UpdateState.ROLLBACK_STARTED:
            yield entry(Kind.ROLLBACK_STARTED, text, Level.WARNING, by)
        case UpdateState.UPDATING:
            yield entry(Kind.UPDATE_STARTED, text, who=by)
        case UpdateState.PAUSED | UpdateState.ROLLBACK_PAUSED:
            yield entry(Kind.UPDATE_HALTED, text, Level.ERROR, by)
        case UpdateState.COMPLETED:
            yield entry(Kind.UPDATE_ENDED, text, Level.GOOD)
        case UpdateState.ROLLBACK_COMPLETED:
            yield entry(Kind.UPDATE_ENDED, text, Level.WARNING)
        case UpdateState.NONE:
            if before in (*ACTIVE, *HALTED):
                yield entry(Kind.UPDATE_ENDED, f"{new.name}: the update was replaced by another change")


# --- nodes ---


def _of_node(change: Change, _: View, at: float, by: str) -> Iterator[Entry]:
    old, new = change.old, change.new
    assert isinstance(old, Node | None)
    assert isinstance(new, Node | None)
    current = new or old
    assert current is not None

    def entry(kind: Kind, text: str, level: Level = Level.INFO, who: str = "") -> Entry:
        return Entry(at=at, kind=kind, level=level, text=text, object=named(current), by=who)

    if old is None:
        if not _awaited(current):
            yield _joined(current, entry)
    elif new is None:
        if by or not _awaited(old):
            yield entry(Kind.NODE_REMOVED, f"{current.name or current.id} was removed from the cluster", who=by)
    else:
        yield from _of_changed_node(old, new, entry, by)


def _of_changed_node(old: Node, new: Node, entry: Callable[..., Entry], by: str) -> Iterator[Entry]:
    name = new.name or new.id
    if _awaited(old) and new.status.state == "ready":
        yield _joined(new, entry)
    elif new.left and not old.left and not _awaited(old):
        yield entry(Kind.NODE_LEFT, f"{name} left the cluster" if not new.member else f"the worker of {name} left")
    elif old.status.state != new.status.state and not _awaited(new):
        yield entry(Kind.NODE_STATE, f"{name} is {_state_of_node(new)}", _NODE_LEVELS.get(new.status.state, _WARN))
    if (old.clock_offset is None) is not (new.clock_offset is None) and not new.left:
        yield _clock_entry(new, entry)
    if old.spec != new.spec:
        yield entry(Kind.NODE_CHANGED, f"{name} was changed: {'; '.join(_node_changes(old, new))}", who=by)


def _joined(node: Node, entry: Callable[..., Entry]) -> Entry:
    return entry(Kind.NODE_JOINED, f"{node.name or node.id} joined the cluster", Level.GOOD)


def _clock_entry(node: Node, entry: Callable[..., Entry]) -> Entry:
    name = node.name or node.id
    if node.clock_offset is None:
        return entry(Kind.NODE_CLOCK, f"the clock of {name} agrees with the manager's again", Level.GOOD)
    return entry(Kind.NODE_CLOCK, f"the clock of {name} {clock_words(node.clock_offset.seconds)}", Level.WARNING)


def _awaited(node: Node) -> bool:
    """Whether a node's first session has not begun: if its host cannot be a node, the join is taken back."""
    return node.agent and node.joining is not None


_WARN = Level.WARNING
_NODE_LEVELS = {"down": Level.ERROR, "ready": Level.GOOD}


def _state_of_node(node: Node) -> str:
    return f"{node.status.state}: {node.status.message}" if node.status.message else node.status.state


def _node_changes(old: Node, new: Node) -> Iterator[str]:
    for what, was, now in (
        ("availability", old.spec.availability, new.spec.availability),
        ("role", old.spec.role, new.spec.role),
        ("host name", old.spec.name, new.spec.name),
    ):
        if was != now:
            yield f"{what} {was or 'none'} → {now or 'none'}"
    labels = [
        key for key in {**old.spec.labels, **new.spec.labels} if old.spec.labels.get(key) != new.spec.labels.get(key)
    ]
    if labels:
        yield "labels " + ", ".join(sorted(labels))


# --- networks, secrets, configs ---


def _of_object(change: Change, _: View, at: float, by: str) -> Iterator[Entry]:
    old, new, current = change.old, change.new, change.current
    assert isinstance(current, Config | Network | Secret)
    value, related = named(current), tuple(_stack(current.spec.labels))
    what = f"{value.kind} {value.name}"

    def entry(kind: Kind, text: str) -> Entry:
        return Entry(at=at, kind=kind, text=text, object=value, related=related, by=by)

    if old is None:
        yield entry(Kind.OBJECT_CREATED, f"{what} was created")
    elif new is None:
        yield entry(Kind.OBJECT_REMOVED, f"{what} was removed")
    elif getattr(old, "spec", None) != getattr(new, "spec", None):
        yield entry(Kind.OBJECT_CHANGED, f"{what} was changed")


_MAKERS: dict[type[StoredObject], Callable[[Change, View, float, str], Iterator[Entry]]] = {
    Task: _of_task,
    Service: _of_service,
    Node: _of_node,
    Config: _of_object,
    Network: _of_object,
    Secret: _of_object,
}


_MOST_NAMED = 6
# Fields whose differences have phrases of their own.
_TOLD = frozenset({"image", "env", "labels", "resources", "container_spec", "task_template", "mode", "endpoint_spec"})
_COUNTERS = frozenset({"force_update"})


def spec_changes(old: ServiceSpec, new: ServiceSpec) -> Iterator[str]:
    """Yield a phrase for each thing that differs."""
    was, now = old.task_template, new.task_template
    yield from _of_container(was.container_spec or ContainerSpec(), now.container_spec or ContainerSpec())
    if old.mode != new.mode:
        yield f"replicas {_count(old)} → {_count(new)}"
    yield from _of_resources(was.resources or Resources(), now.resources or Resources())
    yield from _names("labels", old.labels, new.labels)
    if set(old.ports) != set(new.ports):
        yield f"ports {_ports(old.ports)} → {_ports(new.ports)}"
    elif old.endpoint_spec != new.endpoint_spec:
        yield "endpoint"
    if was.force_update != now.force_update:
        yield "its tasks are to be replaced"
    rest = [*_fields(was, now), *_fields(old, new)]
    if rest:
        yield _listed(rest)


def _of_container(old: ContainerSpec, new: ContainerSpec) -> Iterator[str]:
    if old.image != new.image:
        was, now = short_image(old.image), short_image(new.image)
        yield f"image {was} → {now}" if was != now else f"image {now}, of other content"
    yield from _names("environment", _variables(old.env), _variables(new.env))
    yield from _names("container labels", old.labels, new.labels)
    rest = list(_fields(old, new))
    if rest:
        yield _listed(rest)


def _of_resources(old: Resources, new: Resources) -> Iterator[str]:
    for what, was, now in (("limit", old.limits, new.limits), ("reservation", old.reservations, new.reservations)):
        cpus = (was.nano_cpus if was else 0, now.nano_cpus if now else 0)
        memory = (was.memory_bytes if was else 0, now.memory_bytes if now else 0)
        if cpus[0] != cpus[1]:
            yield f"CPU {what} {cpus[0] / NANO_CPUS:g} → {cpus[1] / NANO_CPUS:g}"
        if memory[0] != memory[1]:
            yield f"memory {what} {human_size(memory[0])} → {human_size(memory[1])}"


def _count(spec: ServiceSpec) -> str:
    if spec.mode.replicated_job is not None:
        return str(spec.mode.replicated_job.total)
    return str(spec.mode.replicas)


def _ports(ports: Iterable[PortConfig]) -> str:
    return ", ".join(f"{port.published_port or '*'}:{port.target_port}/{port.protocol}" for port in ports) or "none"


def _variables(env: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in env)}


def _names(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    changed = sorted(name for name in {**old, **new} if old.get(name) != new.get(name))
    if changed:
        yield f"{what}: {_listed(changed)}"


def _fields(old: msgspec.Struct, new: msgspec.Struct) -> Iterator[str]:
    """Name the fields that differ, in words; those that are told otherwise are left out."""
    for name in old.__struct_fields__:
        was: Any = getattr(old, name)
        if name not in _TOLD and name not in _COUNTERS and was != getattr(new, name):
            yield name.replace("_", " ")


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
