"""Request bodies: JSON into the model's structs, with keys in any case, as the engine's decoder takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from manager.api.errors import EngineError, invalid
from manager.api.http import bounded_json

T = TypeVar("T", bound=msgspec.Struct)

_INT64 = 2**63
_COMPLAINT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which keys an object of a type may have: the lower-cased key → how the model spells it, and what is inside."""

    fields: Mapping[str, tuple[str, Shape | None]] = field(default_factory=dict)
    item: Shape | None = None


@cache
def shape_of(kind: type[msgspec.Struct]) -> Shape:
    """Return the shape of a struct type, all the way down."""
    shape = _shape(inspect.type_info(kind))
    assert shape is not None
    return shape


def _shape(info: inspect.Type) -> Shape | None:
    if isinstance(info, inspect.StructType):
        fields = {f.encode_name.lower(): (f.encode_name, _shape(f.type)) for f in info.fields}
        return Shape(fields=fields)
    if isinstance(info, inspect.VarTupleType):
        item = _shape(info.item_type)
        return None if item is None else Shape(item=item)
    if isinstance(info, inspect.UnionType):
        return next((shape for shape in map(_shape, info.types) if shape is not None), None)
    return None


def parse(body: bytes) -> Any:
    """Decode JSON; an empty body is an empty object, as for the engine.

    Raises:
        EngineError: 400, it is not JSON, or beyond the bounds.

    """
    if not body.strip():
        return {}
    try:
        return bounded_json.decode(body)
    except bounded_json.WrongJson as error:
        raise invalid(f"invalid JSON: {str(error).removeprefix(bounded_json.NO_JSON)}") from None


def decode(kind: type[T], body: bytes) -> T:
    """Decode a JSON body into a struct.

    Raises:
        EngineError: 400; the message names the field and what was expected of it.

    """
    return convert(kind, normal(kind, parse(body)))


def normal(kind: type[msgspec.Struct], raw: Any) -> dict[str, Any]:
    """Spell all keys of a decoded body as `kind` does; keys that it does not know and nulls are dropped."""
    if not isinstance(raw, dict):
        raise invalid(f"invalid JSON: expected an object ({kind.__name__}), got {_json_type(raw)}")
    spelled = _spell(raw, shape_of(kind), kind.__name__)
    assert isinstance(spelled, dict)
    return spelled


def convert(kind: type[T], spelled: Mapping[str, Any]) -> T:
    """Build a struct from a body whose keys are spelled right."""
    try:
        return msgspec.convert(spelled, kind)
    except msgspec.ValidationError as error:
        raise _complaint(error) from None


def _spell(raw: Any, shape: Shape | None, path: str) -> Any:
    if isinstance(raw, dict):
        if shape is None or shape.item is not None:
            return {key: _spell(value, None, f"{path}.{key}") for key, value in raw.items()}
        return _spell_object(raw, shape, path)
    if isinstance(raw, list):
        item = shape.item if shape is not None else None
        return [_spell(value, item, f"{path}[{n}]") for n, value in enumerate(raw)]
    if isinstance(raw, int) and not -_INT64 <= raw < _INT64:
        raise invalid(f"invalid JSON: {path}: {str(raw)[:40]} does not fit into 64 bits")
    return raw


def _spell_object(raw: dict[str, Any], shape: Shape, path: str) -> dict[str, Any]:
    spelled = {}
    for key, value in raw.items():
        known = shape.fields.get(key.lower())
        if known is not None and value is not None:
            name, inner = known
            spelled[name] = _spell(value, inner, f"{path}.{name}")
    return spelled


def _complaint(error: msgspec.ValidationError) -> EngineError:
    match = _COMPLAINT.match(str(error))
    assert match is not None
    what = match["what"].replace("`", "")
    what = what[:1].lower() + what[1:]
    return invalid(f"invalid JSON: {match['where']}: {what}" if match["where"] else f"invalid JSON: {what}")


def _json_type(raw: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(raw), "null")
