"""What placement constraints match, and how wrong ones are refused."""

from __future__ import annotations

import pytest

from common.errors import InvalidArgument
from common.model import Node
from common.model.node import EngineDescription, NodeDescription, NodeSpec, NodeStatus
from common.model.service import Placement, Platform
from common.spec.constraints import parse, parse_all, unmet

NODE = Node(
    id="n1",
    spec=NodeSpec(labels={"zone": "East", "Disk": "ssd"}),
    description=NodeDescription(
        hostname="Alpha",
        platform=Platform(architecture="x86_64", os="linux"),
        engine=EngineDescription(labels={"gpu": "yes"}),
    ),
    status=NodeStatus(addr="10.1.2.3"),
)


@pytest.mark.parametrize(
    "expression",
    [
        "node.id==n1",
        "node.id == N1",
        "node.hostname==alpha",
        "NODE.HOSTNAME==Alpha",
        "node.role!=manager",
        "node.platform.os==linux",
        "node.platform.arch==x86_64",
        "node.labels.zone==east",
        "node.labels.Disk==ssd",
        "node.labels.disk!=ssd",  # the label's own name is exact
        "node.labels.absent!=x",
        "engine.labels.gpu==yes",
        "node.ip==10.1.2.3",
        "node.ip==10.1.0.0/16",
        "node.ip!=10.2.0.0/16",
    ],
)
def test_matches(expression: str) -> None:
    assert parse(expression).matches(NODE)
    opposite = expression.replace("==", "!=") if "==" in expression else expression.replace("!=", "==")
    assert not parse(opposite).matches(NODE)


@pytest.mark.parametrize("expression", ["node.labels.zone==eas", "node.labels.zone==east1", "node.labels.absent==x"])
def test_a_match_is_whole(expression: str) -> None:
    assert not parse(expression).matches(NODE)


def test_an_unknown_address_is_in_no_range() -> None:
    silent = Node(id="n2")
    assert not parse("node.ip==10.0.0.0/8").matches(silent)
    assert parse("node.ip!=10.0.0.0/8").matches(silent)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("node.role", "expected KEY==VALUE"),
        ("node.role=worker", "expected KEY==VALUE"),
        ("", "expected KEY==VALUE"),
        ("node.role==", "empty"),
        ("node.labels.==x", "unknown key"),
        ("node.zone==x", "unknown key 'node.zone'"),
        ("node.labels.a==é", "characters"),
        ("node.ip==10.0.0.0/99", "address or a range"),
    ],
)
def test_a_wrong_expression_is_named_in_its_error(expression: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_all(["node.role==worker", expression])
    assert repr(expression) in caught.value.message
    assert says in caught.value.message


def test_unmet_names_the_first_that_fails() -> None:
    several = Placement(constraints=("node.role==worker", "node.labels.zone==west", "node.id==x"))
    assert unmet(several, NODE) == "node.labels.zone==west"
    assert unmet(Placement(constraints=("node.role==worker",)), NODE) == ""
    assert unmet(None, NODE) == ""
