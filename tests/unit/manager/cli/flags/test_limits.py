"""Ulimits, generic resources and capabilities."""

import pytest

from common.model.container import Ulimit
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec
from manager.cli.flags.limits import capability, merge_capabilities, merge_ulimits, parse_generic, parse_ulimit


def test_ulimits():
    assert parse_ulimit("nofile=10") == Ulimit(name="nofile", soft=10, hard=10)
    assert parse_ulimit("core=0:-1") == Ulimit(name="core", soft=0, hard=-1)
    later = merge_ulimits([parse_ulimit("nofile=1"), parse_ulimit("core=2"), parse_ulimit("nofile=3")], ["core"])
    assert later == (Ulimit(name="nofile", soft=3, hard=3),)
    for wrong in ("nofile", "files=1", "nofile=x", "nofile=2:1", "nofile=-1:5"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_ulimit(wrong)


def test_generic_resources():
    count = GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="gpu", value=2))
    named = GenericResource(named_resource_spec=NamedResourceSpec(kind="disk", value="ssd"))
    assert parse_generic("gpu=2,disk=ssd") == (count, named)
    for wrong in ("gpu", "gpu=", "gpu=-1"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_generic(wrong)


def test_a_capability_that_is_given_undoes_its_opposite():
    assert [capability(text) for text in ("net_admin", "CAP_CHOWN", "all")] == ["CAP_NET_ADMIN", "CAP_CHOWN", "ALL"]
    assert merge_capabilities(("CAP_A",), ("CAP_B",), ("CAP_B",), ("CAP_A",)) == ((), ())
    assert merge_capabilities((), (), ("CAP_A",), ("CAP_A",)) == (("CAP_A",), ())
    assert merge_capabilities(("CAP_A",), ("CAP_B",), ("RESET", "CAP_C"), ("RESET",)) == (("CAP_C",), ())
    assert merge_capabilities(("CAP_A",), (), ("ALL",), ()) == (("ALL",), ())
