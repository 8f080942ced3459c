"""Secrets and configs that rotate: new content under the same name, and old versions that go when nothing uses them.

Stored objects never change their content, as in Docker, so that a task's files are what its specification says. New
content is a new object that takes over the name; the object before it is kept as `NAME.vN`, for the tasks and for the
rollbacks that still need it. See docs/adr, "Secrets that rotate".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from common.errors import FailedPrecondition
from common.model import Config, Secret, Service, StoredObject, Task
from common.model.container import ConfigReference, ContainerSpec, CredentialSpec, Privileges, SecretReference
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import EXTENSION_PREFIX, STACK_LABEL, ServiceSpec
from manager.orchestrate import canary
from manager.orchestrate.draft import Draft
from manager.state import executions, revisions
from manager.state.changes import Change, Decision
from manager.state.transaction import Transaction
from manager.state.view import NamedTableView, View

if TYPE_CHECKING:
    from random import Random

VERSION = f"{EXTENSION_PREFIX}version"
VERSION_OF = f"{EXTENSION_PREFIX}version-of"
MANAGED = (VERSION, VERSION_OF)

File: TypeAlias = Secret | Config
FileT = TypeVar("FileT", Secret, Config)
Renamed: TypeAlias = Callable[[str], str]


def rotate(
    old: FileT, new_id: str, spec: SecretSpec | ConfigSpec, tx: Transaction, *, unless_stack: str = ""
) -> tuple[StoredObject, ...]:
    """Return what to put, in order, so that `spec`'s content takes the place of `old`'s in all services that use it.

    A service that went back to a content before the old one (a rollback) gets the new one too. Services of
    `unless_stack` are left: whoever deploys that stack changes them himself, together with all else, so that a rollback
    goes back to what was before.
    """
    number = int(old.spec.labels.get(VERSION, "1"))
    kept = {**old.spec.labels, VERSION: str(number), VERSION_OF: old.name}
    retired = msgspec.structs.replace(
        old, spec=msgspec.structs.replace(old.spec, name=f"{old.name}.v{number}", labels=kept)
    )
    labels = {**spec.labels, VERSION: str(number + 1)}
    fresh = type(old)(id=new_id, spec=msgspec.structs.replace(spec, labels=labels))  # type: ignore[arg-type]
    return (retired, fresh, *_followers(tx, _family(tx, old), new_id, unless_stack))


def _family(view: View, current: File) -> set[str]:
    """Return the ids of all versions of a secret or config."""
    files = view.secrets if isinstance(current, Secret) else view.configs
    return {current.id, *(each.id for each in files if each.spec.labels.get(VERSION_OF) == current.name)}


def _followers(tx: Transaction, family: Collection[str], new_id: str, unless_stack: str) -> list[Service]:
    services = [each for each in tx.services if not unless_stack or each.spec.labels.get(STACK_LABEL) != unless_stack]
    followers = (_following(service, family, new_id, tx) for service in services)
    return [service for service in followers if service is not None]


def _following(service: Service, family: Collection[str], new_id: str, tx: Transaction) -> Service | None:
    """Return a service with the new content; None when it uses no version of it."""
    container = service.spec.task_template.container_spec
    if container is None or service.pending_delete or references(service.spec).isdisjoint(family):
        return None

    def rename(object_id: str) -> str:
        return new_id if object_id in family else object_id

    template = msgspec.structs.replace(service.spec.task_template, container_spec=_renamed(container, rename))
    spec = msgspec.structs.replace(service.spec, task_template=template)
    changed = executions.next_execution(service, revisions.respecified(service, spec, tx.now), tx.now)
    return msgspec.structs.replace(changed, spec_version=tx.next_index, update_status=None)


def _renamed(container: ContainerSpec, rename: Renamed) -> ContainerSpec:
    return msgspec.structs.replace(
        container,
        secrets=tuple(_secret(each, rename) for each in container.secrets),
        configs=tuple(_config(each, rename) for each in container.configs),
        privileges=_privileges(container.privileges, rename),
    )


def _secret(reference: SecretReference, rename: Renamed) -> SecretReference:
    return msgspec.structs.replace(reference, secret_id=rename(reference.secret_id))


def _config(reference: ConfigReference, rename: Renamed) -> ConfigReference:
    return msgspec.structs.replace(reference, config_id=rename(reference.config_id))


def _privileges(privileges: Privileges | None, rename: Renamed) -> Privileges | None:
    credential = privileges.credential_spec if privileges is not None else None
    if privileges is None or credential is None or not credential.config:
        return privileges
    changed: CredentialSpec = msgspec.structs.replace(credential, config=rename(credential.config))
    return msgspec.structs.replace(privileges, credential_spec=changed)


def renewed(spec: ServiceSpec, view: View) -> ServiceSpec:
    """Return a past specification with the newest content in place of versions that are gone.

    Raises:
        FailedPrecondition: nothing has the name of what it needs any more.

    """
    container = spec.task_template.container_spec
    if container is None:
        return spec
    wanted: list[tuple[NamedTableView[Secret] | NamedTableView[Config], str, str, str]] = [
        *((view.secrets, "secret", each.secret_id, each.secret_name) for each in container.secrets),
        *((view.configs, "config", each.config_id, each.config_name) for each in container.configs),
    ]
    newest: dict[str, str] = {}
    for table, kind, object_id, name in wanted:
        if object_id not in table:
            current = next(iter(table.named(name)), None)
            if current is None:
                raise FailedPrecondition(f"that specification needs the {kind} {name}, which does not exist any more")
            newest[object_id] = current.id
    renamed = _renamed(container, lambda object_id: newest.get(object_id, object_id))
    template = msgspec.structs.replace(spec.task_template, container_spec=renamed)
    return msgspec.structs.replace(spec, task_template=template)


# --- old versions ---


def decide(view: View, keys: Collection[str], now: float, rng: Random) -> Decision:
    """Remove the old versions among `keys` (ids) that no service, present or previous, and no task uses.

    Nor is to use: while a canary holds, the next tasks are made like those that it leaves as they are.
    """
    del now, rng
    draft = Draft()
    old = [file for key in keys if (file := view.secrets.get(key) or view.configs.get(key)) and is_old(file)]
    used = _used(view) if old else frozenset[str]()
    for file in old:
        if file.id not in used:
            draft.reason(f"{file.name}: removed, nothing uses this version any more")
            draft.remove(file)
    return draft.decision()


def is_old(file: File) -> bool:
    return VERSION_OF in file.spec.labels


def old_versions(view: View) -> list[str]:
    return [file.id for file in (*view.secrets, *view.configs) if is_old(file)]


def concerned(change: Change, view: View) -> Iterator[str]:
    """Name the old versions that a change may have left without use."""
    value, old = change.current, change.old
    if isinstance(value, Secret | Config):
        if change.new is not None and is_old(value):
            yield value.id
    elif isinstance(old, Service):
        specs = (old.spec, *((old.previous_spec,) if old.previous_spec else ()))
        yield from (each for spec in specs for each in references(spec) if _is_old_id(view, each))
        for task in canary.originals(old, view.tasks.of_service(old.id)):  # its canary may hold no longer
            yield from (each for each in _task_references(task) if _is_old_id(view, each))
    elif isinstance(value, Task) and (change.new is None or value.status.state.terminal):
        yield from (each for each in _task_references(value) if _is_old_id(view, each))
    elif isinstance(old, Task) and isinstance(value, Task) and old.renewing and not value.renewing:
        yield from (each for each in _task_references(old) if _is_old_id(view, each))


def _is_old_id(view: View, object_id: str) -> bool:
    file = view.secrets.get(object_id) or view.configs.get(object_id)
    return file is not None and is_old(file)


def _used(view: View) -> frozenset[str]:
    used: set[str] = set()
    for service in view.services:
        used |= references(service.spec)
        if service.previous_spec is not None:
            used |= references(service.previous_spec)
        for task in canary.originals(service, view.tasks.of_service(service.id)):
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


def references(spec: ServiceSpec) -> frozenset[str]:
    """Return the ids of the secrets and configs that a service's tasks get."""
    return container_references(spec.task_template.container_spec)


def container_references(container: ContainerSpec | None) -> frozenset[str]:
    if container is None or not (container.secrets or container.configs):
        return frozenset()
    secrets = (reference.secret_id for reference in container.secrets)
    return frozenset((*secrets, *(reference.config_id for reference in container.configs)))
