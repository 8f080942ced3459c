"""What the store, and the requests that were audited, still tell of the time before anybody watched. Pure.

A manager that is started has heard of nothing. Objects know when they were made, services what they were before and how
their last update went, tasks that are kept how they ended: of that the timeline is made anew, so that it does not begin
with the manager. What was removed since is known by the requests alone.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from common.ids import SHORT_ID
from common.model import Node, Service, StoredObject, Task
from common.model.service import STACK_LABEL
from common.model.update import ACTIVE, UpdateState, UpdateStatus
from manager.orchestrate.reconcile.slots import age
from manager.overview.counters import ServiceTally
from manager.overview.entries import entries_of
from manager.overview.marks import FAILURES
from manager.overview.rows import PATIENCE
from manager.overview.timeline import KEPT, Entry, Kind, Named
from manager.store.changes import Change
from manager.store.view import View

# A change is stored while its request is answered, which is when it is audited.
_ANSWERED_SECONDS = 5.0
_ASKED_FOR = frozenset(
    {
        Kind.SERVICE_CREATED,
        Kind.SERVICE_CHANGED,
        Kind.UPDATE_STARTED,
        Kind.ROLLBACK_STARTED,
        Kind.OBJECT_CREATED,
    }
)
# Of each collection of the API what one of it is called, and the kinds of entries that requests are told as.
_TOLD = {
    "services": (
        "service",
        {"created": Kind.SERVICE_CREATED, "changed": Kind.SERVICE_CHANGED, "removed": Kind.SERVICE_REMOVED},
    ),
    "nodes": ("node", {"changed": Kind.NODE_CHANGED, "removed": Kind.NODE_REMOVED}),
    **{
        f"{noun}s": (
            noun,
            {"created": Kind.OBJECT_CREATED, "changed": Kind.OBJECT_CHANGED, "removed": Kind.OBJECT_REMOVED},
        )
        for noun in ("network", "secret", "config")
    },
}
_VERSION = re.compile(r"v[0-9.]+")


@dataclass(frozen=True, slots=True)
class GrantedRequest:
    """A request that was granted `at` an instant (Unix seconds): by whom, and of which object.

    `object` is its id, or what the path calls it; `name` is what it was called then, `stack` whose it was. Both are
    empty in lines of older releases, and where the request made it.
    """

    at: float
    by: str
    method: str
    path: str
    object: str
    name: str = ""
    stack: str = ""


def entries_of_past(values: Iterable[StoredObject], view: View) -> Iterator[Entry]:
    """Yield what objects tell of their past, in no order. Names are looked up in `view`."""
    for value in values:
        if isinstance(value, Task):
            if value.status.state in FAILURES or value.finds_no_node:
                yield from entries_of(Change(None, value), view, value.updated_at)
        elif isinstance(value, Service):
            yield from _of_service(value, view)
        else:
            yield from _at(value.created_at, entries_of(Change(None, value), view, value.created_at))
            if isinstance(value, Node) and value.status.state != "ready":
                before = msgspec.structs.replace(value, status=msgspec.structs.replace(value.status, state="ready"))
                yield from entries_of(Change(before, value), view, value.updated_at)


def _at(instant: float, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        yield msgspec.structs.replace(entry, at=instant)


def _of_service(service: Service, view: View) -> Iterator[Entry]:
    """Yield its making, each change of its specification that it remembers, and how its last update went."""
    bare = msgspec.structs.replace(service, update_status=None, autoscale_status=None, pending_delete=False)
    yield from _at(service.created_at, entries_of(Change(None, bare), view, service.created_at))
    after = bare
    for past in service.history:
        before = msgspec.structs.replace(bare, spec=past.spec)
        yield from _at(past.replaced_at, entries_of(Change(before, after), view, past.replaced_at))
        after = before
    if service.update_status is not None:
        for at, status in _states(service.update_status, service.updated_at):
            reached = msgspec.structs.replace(bare, update_status=status)
            yield from _at(at, entries_of(Change(bare, reached), view, at))


def _states(status: UpdateStatus, updated_at: float) -> Iterator[tuple[float, UpdateStatus]]:
    """Yield the states that an update was in, and since when; of a rollback its beginning is not known."""
    if status.started_at and status.state not in _ROLLBACKS:
        yield status.started_at, UpdateStatus(state=UpdateState.UPDATING, started_at=status.started_at)
    if status.state not in (*ACTIVE, UpdateState.NONE):
        yield status.completed_at or status.held_at or updated_at, status


_ROLLBACKS = (UpdateState.ROLLBACK_STARTED, UpdateState.ROLLBACK_PAUSED, UpdateState.ROLLBACK_COMPLETED)


# --- requests ---


@dataclass(frozen=True, slots=True)
class Gone:
    """What helps to tell of what is gone.

    `named` are requests that found their objects still there, and so have their names, by the objects' ids. `stacks`
    are those of which something is there.
    """

    named: Mapping[str, GrantedRequest]
    stacks: Container[str]


def gone_of(asked: Iterable[GrantedRequest], view: View) -> Gone:
    """Look through all requests, and all that is there."""
    values = (*view.services, *view.networks, *view.secrets, *view.configs)
    stacks = {value.spec.labels.get(STACK_LABEL, "") for value in values}
    return Gone({each.object: each for each in asked if each.name}, stacks)


def entries_of_requests(asked: Iterable[GrantedRequest], gone: Gone, view: View) -> Iterator[Entry]:
    """Yield what requests tell of objects that are gone: that they were made, changed and removed, and by whom.

    A stack is gone with the last of its objects; of that it is told when it was deployed.
    """
    for each in asked:
        deed, resource, called = _deed(each)
        if deed == "deployed" and called not in gone.stacks:
            subject = Named(kind="stack", name=called)
            text = f"stack {called} was deployed"
            yield Entry(at=each.at, kind=Kind.OBJECT_CHANGED, text=text, object=subject, by=each.by)
        if deed not in _TOLD.get(resource, ("", {}))[1]:
            continue
        there = getattr(view, resource).get(each.object)
        is_gone = there is None or (deed == "removed" and getattr(there, "pending_delete", False))
        if is_gone and (deed == "removed" or each.object in gone.named):
            named = each if each.name else gone.named.get(each.object, replace(each, name=called))
            yield _of_gone(each, deed, resource, named)


def _deed(asked: GrantedRequest) -> tuple[str, str, str]:
    """Return what a request did, to one of which collection, and what it called that; empty: it is not told."""
    parts = asked.path.strip("/").split("/")
    if _VERSION.fullmatch(parts[0]):
        del parts[0]
    match asked.method, parts:
        case "DELETE", [resource, called]:
            return "removed", resource, called
        case "POST", [resource, "create"]:
            return "created", resource, ""
        case "POST", ["stacks", called, "deploy"]:
            return "deployed", "stacks", called
        case "POST", [resource, called, "update"]:
            return "changed", resource, called
        case _:
            return "", "", ""


def _of_gone(asked: GrantedRequest, deed: str, resource: str, named: GrantedRequest) -> Entry:
    """Return the entry of a request for an object that is gone; `named` is one that has its name and stack."""
    noun, kinds = _TOLD[resource]
    name = named.name if named.name != asked.object else ""
    what = name if name and resource in ("services", "nodes") else f"{noun} {name or asked.object[:SHORT_ID]}"
    text = f"{what} was {deed}" + (" from the cluster" if kinds[deed] is Kind.NODE_REMOVED else "")
    return Entry(
        at=asked.at,
        kind=kinds[deed],
        text=text,
        object=Named(kind=noun, id=asked.object, name=name),
        related=(Named(kind="stack", name=named.stack),) if named.stack else (),
        by=asked.by,
    )


def in_order(entries: Iterable[Entry], asked: Iterable[GrantedRequest]) -> list[Entry]:
    """Return the entries of a past, the oldest first, at most `KEPT`, with who asked for them.

    A request asked for that change of its object which was stored just before it was answered.
    """
    by_object: dict[str, list[GrantedRequest]] = {}
    for each in asked:
        by_object.setdefault(each.object, []).append(each)
    kept = sorted(entries, key=lambda entry: entry.at)[-KEPT:]
    return [_with_name(entry, by_object.get(entry.object.id, ())) for entry in kept]


def _with_name(entry: Entry, asked: Iterable[GrantedRequest]) -> Entry:
    if entry.kind not in _ASKED_FOR:
        return entry
    answered = [each for each in asked if 0 <= each.at - entry.at <= _ANSWERED_SECONDS and each.method != "DELETE"]
    first = min(answered, key=lambda each: each.at, default=None)
    return entry if first is None else msgspec.structs.replace(entry, by=first.by)


# --- since when ---


def short_since(tally: ServiceTally, view: View) -> float:
    """Return since when a service lacks tasks that was found to (Unix seconds): since the first slot's last good run.

    Of a slot whose task is lost it is when the node was down, of one of which no task is left when the service was
    changed last.
    """
    assert tally.service is not None
    found = [_since(task, view) for task in tally.newest.values() if not task.serves]
    nodes = [view.nodes.get(task.node_id) for task in tally.newest.values() if task.serves]
    found += [node.updated_at for node in nodes if node is not None and node.status.state == "down"]
    return min(found, default=tally.service.updated_at)


def _since(newest: Task, view: View) -> float:
    """Return when a slot's last task ended that had run for longer than those do that fail at once."""
    node_id = "" if newest.slot else newest.node_id
    earlier = sorted(view.tasks.in_slot(newest.service_id, newest.slot, node_id), key=age, reverse=True)
    since = newest.created_at
    for task in earlier:
        ran_since, ended = task.restart.running_since, task.status.state.terminal
        if ran_since and task.updated_at - ran_since > PATIENCE:
            return task.updated_at if ended else since
        since = min(since, task.created_at)
    return since
