"""Every field of a spec is kept: what the API shows of a spec decodes to that spec again."""

from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from common.model.cluster import ClusterSpec
from common.model.container import ConfigReference, ContainerSpec, Mount, Privileges, SecretReference
from common.model.node import NodeSpec
from common.model.secret import ConfigSpec
from common.model.service import Placement, PortConfig, Resources, ServiceSpec
from manager.api.http.body import decode
from manager.api.render import render
from manager.api.services.view import spec_view, spec_with_defaults
from manager.api.swarm import cluster_spec_view, merge_spec
from manager.domain.defaults import fill_defaults

T = TypeVar("T", bound=msgspec.Struct)

# Never shown: the key of the cluster's authority.
SECRET_FIELDS = frozenset({"signing_ca_key"})


def structs(kind: type[T]) -> st.SearchStrategy[T]:
    """Make values of a model struct, any subset of its fields set."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return _struct(info)


def _struct(info: inspect.StructType) -> st.SearchStrategy[Any]:
    fields = {field.name: _field(field) for field in info.fields if field.name not in SECRET_FIELDS}
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: info.cls(**values))


def _field(field: inspect.Field) -> st.SearchStrategy[Any]:
    values = _any(field.type)
    # A default that is not empty is meant when the field is not there: empty is no value of such a field.
    return values.filter(bool) if isinstance(field.default, str) and field.default else values


def _any(info: inspect.Type) -> st.SearchStrategy[Any]:
    if isinstance(info, inspect.StructType):
        return _struct(info)
    if isinstance(info, inspect.UnionType):
        return st.one_of(*map(_any, info.types))
    if isinstance(info, inspect.VarTupleType):
        return st.lists(_any(info.item_type), max_size=2).map(tuple)
    if isinstance(info, inspect.DictType):
        return st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
    simple: dict[type[inspect.Type], st.SearchStrategy[Any]] = {
        inspect.NoneType: st.none(),
        inspect.StrType: st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        inspect.IntType: st.integers(-(2**63), 2**63 - 1),
        inspect.FloatType: st.floats(0, 1),
        inspect.BoolType: st.booleans(),
        inspect.BytesType: st.binary(max_size=4),
    }
    return simple[type(info)]


@settings(max_examples=50)
@given(structs(ServiceSpec))
def test_services(spec: ServiceSpec) -> None:
    stored = fill_defaults(spec)
    assert fill_defaults(stored) == stored
    assert fill_defaults(decode(ServiceSpec, msgspec.json.encode(spec_view(stored)))) == stored


@settings(max_examples=50)
@given(structs(ServiceSpec))
def test_defaults_only_add(spec: ServiceSpec) -> None:
    plain, full = spec_view(fill_defaults(spec)), spec_with_defaults(fill_defaults(spec))
    assert contains(full, plain)


def contains(more: Any, less: Any) -> bool:
    if isinstance(less, dict):
        return all(key in more and contains(more[key], value) for key, value in less.items())
    return bool(more == less)


KINDS = [
    NodeSpec,
    ConfigSpec,
    ContainerSpec,
    ConfigReference,
    SecretReference,
    Mount,
    Privileges,
    Placement,
    PortConfig,
    Resources,
]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(st.data())
def test_parts_and_others(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    spec = data.draw(structs(kind))
    assert decode(kind, msgspec.json.encode(render(spec))) == spec


@given(structs(ClusterSpec))
def test_the_cluster(spec: ClusterSpec) -> None:
    """An update with what was read changes nothing."""
    assert merge_spec(spec, decode_keys(cluster_spec_view(spec))) == spec


def decode_keys(shown: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(shown))
