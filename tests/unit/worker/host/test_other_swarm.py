"""Engines that are in a Docker Swarm."""

from typing import Any

import pytest

from common.errors import FailedPrecondition
from worker.host.other_swarm import warning


@pytest.mark.parametrize("swarm", [None, {}, {"LocalNodeState": ""}, {"LocalNodeState": "inactive"}])
def test_an_engine_of_its_own_is_fine(swarm: Any) -> None:
    assert warning({"Swarm": swarm}, 0) == ""


@pytest.mark.parametrize(
    ("swarm", "port", "taken"),
    [
        ({"LocalNodeState": "active"}, 0, 4789),
        ({"LocalNodeState": "locked"}, 4789, 4789),
        ({"LocalNodeState": "active", "Cluster": {"DataPathPort": 5000}}, 5000, 5000),
        ({"LocalNodeState": "active", "Cluster": {"DataPathPort": 0}}, 0, 4789),
        ({"LocalNodeState": "active"}, 4790, 0),
        ({"LocalNodeState": "pending", "Cluster": None}, 4790, 0),
        ({"LocalNodeState": "active", "Cluster": {"DataPathPort": 5000}}, 0, 0),
    ],
)
def test_only_the_same_port_keeps_a_host_from_joining(swarm: Any, port: int, taken: int) -> None:
    if not taken:
        assert warning({"Swarm": swarm}, port).startswith("this host's engine is a node of a Docker Swarm, too")
        return
    with pytest.raises(FailedPrecondition, match=f"have UDP port {taken}, which this"):
        warning({"Swarm": swarm}, port)
