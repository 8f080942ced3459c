"""Hypothesis strategies from msgspec types: every field of every struct is drawn, nested ones too."""

import enum
from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

# What msgpack carries unchanged; NaN is left out because it is not equal to itself.
_TEXT = st.text(max_size=8)
_INT = st.integers(-(2**63), 2**63 - 1)
_FLOAT = st.floats(allow_nan=False)


@dataclass(frozen=True)
class Scalars:
    """What texts and numbers are drawn from."""

    texts: st.SearchStrategy[str] = _TEXT
    integers: st.SearchStrategy[int] = _INT
    floats: st.SearchStrategy[float] = _FLOAT


def structs(kind: type[msgspec.Struct], scalars: Scalars = Scalars()) -> st.SearchStrategy[Any]:
    """Draw instances of a struct; optional fields are left at their default half of the time."""
    return _strategy(inspect.type_info(kind), 0, scalars)


def _strategy(info: inspect.Type, depth: int, scalars: Scalars) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType():
            return st.deferred(lambda: _struct(info, depth + 1, scalars))
        case inspect.UnionType():
            return st.one_of(*(_strategy(option, depth, scalars) for option in info.types))
        case inspect.VarTupleType():
            return st.lists(_strategy(info.item_type, depth, scalars), max_size=0 if depth > 6 else 2).map(tuple)
        case inspect.TupleType():
            return st.tuples(*(_strategy(each, depth, scalars) for each in info.item_types))
        case inspect.DictType():
            values = _strategy(info.value_type, depth, scalars)
            return st.dictionaries(_strategy(info.key_type, depth, scalars), values, max_size=2)
        case inspect.EnumType():
            kind: type[enum.Enum] = info.cls
            return st.sampled_from(list(kind))
        case _:
            return _scalar(info, scalars)


def _scalar(info: inspect.Type, scalars: Scalars) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StrType():
            return scalars.texts
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return scalars.integers
        case inspect.FloatType():
            return scalars.floats
        case inspect.BytesType():
            return st.binary(max_size=8)
        case inspect.NoneType():
            return st.none()
        case _:
            raise NotImplementedError(f"no strategy for {info}")


def _struct(info: inspect.StructType, depth: int, scalars: Scalars) -> st.SearchStrategy[Any]:
    required = {}
    optional = {}
    for field in info.fields:
        values = _strategy(field.type, depth, scalars)
        if field.required:
            required[field.name] = values
        else:
            optional[field.name] = values
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: info.cls(**fields))
