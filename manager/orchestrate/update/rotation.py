"""Rotation of secrets and configs: new content under the same name; old versions are removed when nothing uses them.

Stored objects never change their content, as in Docker, so that a task's files are what its specification says. New
content is a new object that takes over the name; the object before it is kept as `NAME.vN`, for the tasks and for the
rollbacks that still need it. See docs/adr, "Secrets that rotate".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from common.model import Config, Secret, Service, Task
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import STACK_LABEL
from manager.domain.references import (
    VERSION,
    VERSION_OF,
    File,
    container_references,
    is_old,
    references,
    rename_references,
)
from manager.domain.service_change import change_files
from manager.orchestrate.update import canary
from manager.store.changes import Change, Decision, Draft
from manager.store.transaction import Transaction
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random

FileT = TypeVar("FileT", Secret, Config)


def rotate(tx: Transaction, old: FileT, new_id: str, spec: SecretSpec | ConfigSpec, *, unless_stack: str = "") -> None:
    """Replace `old`'s content by `spec`'s in all services that use it.

    A service that went back to a content before the old one (a rollback) gets the new one too. Services of
    `unless_stack` are not changed: the deploy of that stack changes them together with everything else, so that a
    rollback returns to what was before.
    """
    number = int(old.spec.labels.get(VERSION, "1"))
    kept = {**old.spec.labels, VERSION: str(number), VERSION_OF: old.name}
    retired = msgspec.structs.replace(
        old, spec=msgspec.structs.replace(old.spec, name=f"{old.name}.v{number}", labels=kept)
    )
    labels = {**spec.labels, VERSION: str(number + 1)}
    fresh = type(old)(id=new_id, spec=msgspec.structs.replace(spec, labels=labels))  # type: ignore[arg-type]
    tx.put(retired)
    tx.put(fresh)
    family = _old_versions(tx, fresh)
    for service in list(tx.services):
        if not unless_stack or service.spec.labels.get(STACK_LABEL) != unless_stack:
            following = _following(service, family, new_id, tx)
            if following is not None:
                tx.put(following)


def _old_versions(view: View, current: File) -> set[str]:
    """Return the ids of the versions of a secret or config that are not its present one."""
    files = view.secrets if isinstance(current, Secret) else view.configs
    return {each.id for each in files if each.spec.labels.get(VERSION_OF) == current.name}


def _following(service: Service, family: Collection[str], new_id: str, tx: Transaction) -> Service | None:
    """Return a service with the new content; None when it uses no version of it."""
    container = service.spec.task_template.container_spec
    if container is None or service.pending_delete or references(service.spec).isdisjoint(family):
        return None

    def rename(object_id: str) -> str:
        return new_id if object_id in family else object_id

    template = msgspec.structs.replace(service.spec.task_template, container_spec=rename_references(container, rename))
    spec = msgspec.structs.replace(service.spec, task_template=template)
    return change_files(tx, service, spec, tx.now)


# --- old versions ---


def decide(view: View, keys: Collection[str], now: float, rng: Random) -> Decision:
    """Remove the old versions among `keys` (ids) that no service, present or previous, and no task uses.

    While a canary holds, the next tasks may be like unchanged ones, whose versions count as used.
    """
    del now, rng
    draft = Draft()
    old = [file for key in keys if (file := view.secrets.get(key) or view.configs.get(key)) and is_old(file)]
    used = _used_objects(view) if old else frozenset[str]()
    for file in old:
        if file.id not in used:
            draft.reason(f"{file.name}: removed: this version is no longer used")
            draft.remove(file)
    return draft.decision()


def old_versions(view: View) -> list[str]:
    return [file.id for file in (*view.secrets, *view.configs) if is_old(file)]


def concerned_versions(change: Change, view: View) -> Iterator[str]:
    """Name the old versions that a change may have left without use."""
    value, old = change.current, change.old
    if isinstance(value, Secret | Config):
        if change.new is not None and is_old(value):
            yield value.id
    elif isinstance(old, Service):
        specs = (old.spec, *((old.previous_spec,) if old.previous_spec else ()))
        yield from (each for spec in specs for each in references(spec) if _is_old_id(view, each))
        for task in canary.original_tasks(old, view.tasks.of_service(old.id)):  # its canary may hold no longer
            yield from (each for each in _task_references(task) if _is_old_id(view, each))
    elif isinstance(value, Task) and (change.new is None or value.status.state.terminal):
        yield from (each for each in _task_references(value) if _is_old_id(view, each))
    elif isinstance(old, Task) and isinstance(value, Task) and old.renewing and not value.renewing:
        yield from (each for each in _task_references(old) if _is_old_id(view, each))


def _is_old_id(view: View, object_id: str) -> bool:
    file = view.secrets.get(object_id) or view.configs.get(object_id)
    return file is not None and is_old(file)


def _used_objects(view: View) -> frozenset[str]:
    used: set[str] = set()
    for service in view.services:
        used |= references(service.spec)
        if service.previous_spec is not None:
            used |= references(service.previous_spec)
        for task in canary.original_tasks(service, view.tasks.of_service(service.id)):
            used |= container_references(task.spec.container_spec)
    seen: set[int] = set()  # tasks of one version share their specification
    for task in view.tasks:
        container = task.spec.container_spec
        if task.renewal is not None and task.renewing and not task.status.state.terminal:
            used.update(task.renewal.replaces)
        if not task.status.state.terminal and container is not None and id(container) not in seen:
            seen.add(id(container))
            used |= container_references(container)
    return frozenset(used)


def _task_references(task: Task) -> frozenset[str]:
    """Return the ids of what a task's container has, and of what it is to have."""
    renewal = task.renewal
    return container_references(task.spec.container_spec) | frozenset(renewal.replaces if renewal is not None else ())
