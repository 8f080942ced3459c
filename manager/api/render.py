"""Model structs as the engine writes them: Docker's keys, and Go's rules for what is left out.

Rendered parts are kept while the immutable values that they came from are in use (`JsonCache`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec

from common.clock import rfc3339
from common.model.cluster import CAConfig, Dispatcher, EncryptionConfig, Orchestration, Raft
from common.model.container import FileTarget, Privileges, SelinuxContext
from common.model.naming import Object
from common.model.service import RestartPolicy, TaskSpec, UpdateConfig

# Fields that the engine writes even when they are zero; all others only when set. An optional field (None by default)
# is a pointer in the engine's structs: it is written when it is there, zero or not.
_ALWAYS: Mapping[type[msgspec.Struct], tuple[str, ...]] = {
    CAConfig: ("node_cert_expiry",),
    Dispatcher: ("heartbeat_period",),
    EncryptionConfig: ("auto_lock_managers",),
    FileTarget: ("name", "uid", "gid", "mode"),
    Orchestration: ("task_history_retention_limit",),
    Privileges: ("credential_spec", "selinux_context", "no_new_privileges"),
    Raft: tuple(Raft.__struct_fields__),
    RestartPolicy: ("max_attempts",),
    SelinuxContext: tuple(SelinuxContext.__struct_fields__),
    TaskSpec: ("force_update",),
    UpdateConfig: ("parallelism", "max_failure_ratio"),
}
_ZERO_OF_NONE = {"max_attempts": 0}

_PLAIN = frozenset({str, int, bool, float})
T = TypeVar("T", bound=msgspec.Struct)
DEFAULT_CAPACITY = 4096


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    key: str
    optional: bool
    always: bool


@cache
def _plan(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    always = _ALWAYS.get(kind, ())
    return tuple(
        _Field(f.name, f.encode_name, f.default is None, f.name in always) for f in msgspec.structs.fields(kind)
    )


def render(value: msgspec.Struct) -> dict[str, Any]:
    """Turn a struct into a JSON object in the engine's form."""
    result: dict[str, Any] = {}
    for item in _plan(type(value)):
        inner = getattr(value, item.name)
        if inner is None:
            if item.always:
                result[item.key] = _ZERO_OF_NONE.get(item.name)
        elif inner or item.optional or item.always:
            result[item.key] = inner if inner.__class__ in _PLAIN else _render_any(inner)
    return result


def _render_any(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return render(value)
    if isinstance(value, tuple):
        return [item if item.__class__ in _PLAIN else _render_any(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def head(value: Object) -> dict[str, Any]:
    """Render what every stored object has: id, version and times."""
    return {
        "ID": value.id,
        "Version": {"Index": value.version.index},
        "CreatedAt": rfc3339(value.created_at),
        "UpdatedAt": rfc3339(value.updated_at),
    }


class JsonCache:
    """JSON of structs by identity. Tasks share their service's spec, so a list of tasks renders each spec once.

    It holds at most `capacity` entries and is emptied when full; holding the struct itself keeps its identity unique.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[tuple[int, Any], tuple[msgspec.Struct, msgspec.Raw]] = {}

    def get(self, value: T, renderer: Callable[[T], Any]) -> msgspec.Raw:
        """Return `renderer(value)` as encoded JSON."""
        key = (id(value), renderer)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._capacity:
                self._entries.clear()
            entry = (value, msgspec.Raw(msgspec.json.encode(renderer(value))))
            self._entries[key] = entry
        return entry[1]

    def __len__(self) -> int:
        return len(self._entries)
