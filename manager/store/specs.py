"""One specification in memory for all tasks that were made from it, though each was read with its own."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from common.model import Service, StoredObject, Task
from common.model.service import TaskSpec

T = TypeVar("T", bound=StoredObject)


class SharedSpecs:
    """Remembers the specifications that services' tasks were seen to have, by version."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, TaskSpec]] = {}

    def shared(self, value: T) -> T:
        """Return an object as it is, but a task with the specification that others of its service have, if equal."""
        if isinstance(value, Service):
            self._forget_all_but(value.id, value.spec_version)
        if not isinstance(value, Task):
            return value
        spec = self._known.setdefault(value.service_id, {}).setdefault(value.spec_version, value.spec)
        if spec is not value.spec and spec == value.spec:
            return msgspec.structs.replace(value, spec=spec)
        return value

    def forget(self, service_id: str) -> None:
        """Forget a service that is gone."""
        self._known.pop(service_id, None)

    def _forget_all_but(self, service_id: str, version: int) -> None:
        """Forget what no new task of a service will have."""
        kept = self._known.pop(service_id, {})
        if version in kept:
            self._known[service_id] = {version: kept[version]}
