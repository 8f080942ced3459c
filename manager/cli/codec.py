"""The manager's JSON as the project's model, and specifications as its JSON.

Services, tasks and nodes are read as the command line judges or prints them. A specification is written with every
value that an engine would otherwise take as Go's zero.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from common.clock import parse_rfc3339
from common.model import Node, Service, Task, TaskState
from common.model.naming import Model

Json: TypeAlias = Mapping[str, Any]

_INSTANTS = frozenset(
    {
        "CreatedAt",
        "UpdatedAt",
        "StartedAt",
        "CompletedAt",
        "Timestamp",
        "LastExecution",
        "NotBefore",
        "LastAt",
        "NextAt",
        "ScaledAt",
        "MonitorUntil",
    }
)
_STATES = {state.name.lower(): state for state in TaskState} | {"allocated": TaskState.PENDING}
# Free-form maps: a label may be called `Timestamp`.
_FREE = frozenset({"Labels", "Options", "Sysctls", "DriverOpts"})


def service(data: Json) -> Service:
    return msgspec.convert(_plain(data), Service)


def node(data: Json) -> Node:
    return msgspec.convert(_plain(data), Node)


def task(data: Json) -> Task:
    plain = _plain(data)
    status = plain.get("Status", {})
    ports = status.get("PortStatus", {}).get("Ports", [])
    plain["Status"] = {**status, "State": _state(status.get("State", "new")), "Ports": ports}
    plain["DesiredState"] = _state(plain.get("DesiredState", "new"))
    return msgspec.convert(plain, Task)


def _state(name: str) -> int:
    return _STATES[name]


def _plain(data: Json) -> dict[str, Any]:
    """Drop nulls, which mean the default, and read times as Unix seconds."""
    return {key: _value(key, value) for key, value in data.items() if value is not None}


def _value(key: str, value: Any) -> Any:
    if key in _INSTANTS and isinstance(value, str):
        return parse_rfc3339(value)
    if isinstance(value, Mapping):
        return value if key in _FREE else _plain(value)
    if isinstance(value, list):
        return [_plain(item) if isinstance(item, Mapping) else item for item in value]
    return value


# --- specifications ---


def to_json(value: Any) -> Any:
    """Turn a specification into JSON data.

    The model omits defaults, the API reads what is missing as zero; so a field is left out only when it is zero and its
    default is too. (An update's parallelism of 1 is our default and must be written, or it would mean "all at once".)
    """
    if isinstance(value, Model):
        fields = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {field.encode_name: to_json(item) for field, item in fields if _written(item, field)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def _written(item: Any, field: msgspec.structs.FieldInfo) -> bool:
    if item is None:
        return False
    if item or isinstance(item, Model):
        return True
    made_by_default = field.default_factory is not msgspec.NODEFAULT
    return not made_by_default and (field.default is None or bool(field.default))
