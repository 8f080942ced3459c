"""Interning: objects that were read share their equal parts, as the leader's own objects do.

A task that was read has its own copy of its service's name and ports, of common messages, of the time of its commit;
the leader's tasks share one of each. Without this a follower takes 1.4 times the leader's memory.
"""

from __future__ import annotations

import sys
from typing import Final, TypeVar

from msgspec.structs import force_setattr

from common.model import Service, StoredObject, Task, TaskStatus
from common.model.naming import Version

T = TypeVar("T", bound=StoredObject)

# Parts that a task has from its service, so that another task of the same version has them, too.
_OF_SERVICE: Final = ("spec", "service_id", "service_name", "ports", "labels")
# Parts that a change of a task mostly leaves alone, beside those.
_KEPT: Final = ("id", "created_at", "generic_resources", "job_iteration", "restart", "renewal", "volumes")
_KEPT_OF_STATUS: Final = ("container_status", "ports", "addresses", "hostname")
_NO_ADDRESSES: Final[dict[str, str]] = {}
# Instants and versions that are kept; those of one commit come together, or by the thousand in a load.
_REMEMBERED = 10_000


class Interner:
    """Keeps one task of each service and version of its specification, whose parts later ones share."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, Task]] = {}
        self._instants: dict[float, float] = {}
        self._versions: dict[int, Version] = {}

    def intern(self, value: T, old: T | None = None) -> T:
        """Replace parts of an object by equal ones of others, and return it; `old` is its previous state, if any.

        It must have just been read, as this changes it in place.
        """
        if isinstance(value, Service):
            self._forget_all_but(value.id, value.spec_version)
        if isinstance(value, Task):
            self._intern_task(value, old if isinstance(old, Task) else None)
        return value

    def forget(self, service_id: str) -> None:
        """Forget a removed service."""
        self._known.pop(service_id, None)

    def _intern_task(self, task: Task, old: Task | None) -> None:
        like = self._known.setdefault(task.service_id, {}).setdefault(task.spec_version, task)
        if like is not task:
            _take_equal(task, like, _OF_SERVICE)
        if old is not None:
            _take_equal(task, old, _KEPT)
            _take_equal(task.status, old.status, _KEPT_OF_STATUS)
        force_setattr(task, "node_id", sys.intern(task.node_id))
        self._intern_times(task)

    def _intern_times(self, task: Task) -> None:
        """Share the messages, instants and version that many tasks of one commit have in common."""
        if len(self._instants) > _REMEMBERED:
            self._instants.clear()
        if len(self._versions) > _REMEMBERED:
            self._versions.clear()
        instants, status = self._instants, task.status
        force_setattr(task, "version", self._versions.setdefault(task.version.index, task.version))
        force_setattr(task, "created_at", instants.setdefault(task.created_at, task.created_at))
        force_setattr(task, "updated_at", instants.setdefault(task.updated_at, task.updated_at))
        force_setattr(status, "timestamp", instants.setdefault(status.timestamp, status.timestamp))
        force_setattr(status, "message", sys.intern(status.message))
        force_setattr(status, "err", sys.intern(status.err))
        if not status.addresses:
            force_setattr(status, "addresses", _NO_ADDRESSES)

    def _forget_all_but(self, service_id: str, version: int) -> None:
        """Forget the versions that no new task of a service will have."""
        kept = self._known.pop(service_id, {})
        if version in kept:
            self._known[service_id] = {version: kept[version]}


def _take_equal(value: Task | TaskStatus, other: Task | TaskStatus, fields: tuple[str, ...]) -> None:
    for name in fields:
        own, others = getattr(value, name), getattr(other, name)
        if own is not others and own == others:
            force_setattr(value, name, others)
