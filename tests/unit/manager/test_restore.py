"""Which node the manager is after a restore, and what becomes of the workers."""

import msgspec
import pytest

from common.model import Node
from common.model.node import ANY_CERTIFICATE, ManagerStatus, NodeSpec, NodeStatus
from manager.config import ManagerConfig
from manager.restore import decide_restored_node
from tests.unit.manager.test_backup import CONFIG

MOVED = msgspec.structs.replace(CONFIG, advertise_addr="192.0.2.2:2377")


def manager_node(*, agent: bool = False) -> Node:
    return Node(
        id="m1",
        agent=agent,
        spec=NodeSpec(role="manager"),
        certificate_serials=("1",) if agent else (),
        manager_status=ManagerStatus(leader=True, addr=CONFIG.advertise_addr),
        status=NodeStatus(state="ready", addr="192.0.2.1"),
    )


def worker_node(
    node_id: str, addr: str, state: str = "ready", serials: tuple[str, ...] = ("7",), at: float = 1
) -> Node:
    status = NodeStatus(state=state, addr=addr)
    return Node(id=node_id, agent=True, certificate_serials=serials, status=status, created_at=at)


def decided(nodes: list[Node], config: ManagerConfig) -> tuple[ManagerConfig, dict[str, Node], list[str]]:
    config, decision = decide_restored_node(nodes, CONFIG, config, "fresh")
    after = {node.id: node for node in (*nodes, *decision.put) if isinstance(node, Node)}
    return config, after, [node.id for node in decision.remove]


def test_workers_are_awaited_with_any_certificate_they_have():
    left = worker_node("left", "192.0.2.8", "down", serials=())
    down = worker_node("down", "192.0.2.9", "down")
    _, put, _ = decided([manager_node(agent=True), worker_node("w1", "192.0.2.7"), left, down], CONFIG)
    assert {name: node.status.state for name, node in put.items()} == {
        "m1": "unknown",
        "w1": "unknown",
        "left": "down",
        "down": "down",
    }
    assert {name: node.certificate_serials for name, node in put.items()} == {
        "m1": (ANY_CERTIFICATE,),
        "w1": (ANY_CERTIFICATE,),
        "left": (),
        "down": (ANY_CERTIFICATE,),
    }


@pytest.mark.parametrize(("agent", "removed"), [(False, ["m1"]), (True, [])])
def test_on_another_host_the_manager_is_another_node(agent: bool, removed: list[str]):
    config, put, gone = decided([manager_node(agent=agent), worker_node("w1", "192.0.2.7")], MOVED)
    assert (config.node_id, gone) == ("fresh", removed)
    assert put["fresh"].manager_status == ManagerStatus(leader=True, addr="192.0.2.2:2377")
    assert put["fresh"].status.state == "ready"
    if agent:
        assert (put["m1"].spec.role, put["m1"].manager_status, put["m1"].agent) == ("worker", None, True)


def test_on_a_workers_host_the_manager_is_that_workers_node():
    before = worker_node("before", "192.0.2.2", "down", at=0)
    config, put, gone = decided([manager_node(), before, worker_node("w1", "192.0.2.2")], MOVED)
    assert (config.node_id, gone) == ("w1", ["m1"])
    assert (put["w1"].spec.role, put["w1"].status.state) == ("manager", "unknown")
    assert put["w1"].manager_status == ManagerStatus(leader=True, addr="192.0.2.2:2377")
    assert put["before"].spec.role == "worker"
