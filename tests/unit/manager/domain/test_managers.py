"""Which nodes are managers, and what is left of one that is a manager no more."""

from common.model.node import ManagerStatus, Node, NodeSpec, NodeStatus
from manager.domain.managers import address, addresses, managers, without_manager
from tests.fakes.world import World, replace


def manager(node_id: str, addr: str, created_at: float, **other: object) -> Node:
    return Node(
        id=node_id,
        spec=NodeSpec(role="manager"),
        manager_status=ManagerStatus(addr=addr),
        created_at=created_at,
        **other,  # type: ignore[arg-type]
    )


def world() -> World:
    found = World()
    found.now = 2.0
    found.put(manager("b", "10.0.0.2:2377", 0.0))
    found.now = 1.0
    found.put(manager("a", "10.0.0.1:2377", 0.0))
    found.put(Node(id="w", spec=NodeSpec(role="worker")))
    found.put(Node(id="p", spec=NodeSpec(role="manager")))  # promoted, and not yet there
    return found


def test_managers_are_those_that_are_there_the_oldest_first() -> None:
    assert [node.id for node in managers(world().tables)] == ["a", "b"]


def test_one_address_may_be_tried_before_the_others() -> None:
    both = ("10.0.0.1:2377", "10.0.0.2:2377")
    assert addresses(world().tables) == both
    assert addresses(world().tables, both[1]) == both[::-1]
    assert addresses(world().tables, "10.0.0.9:2377") == ("10.0.0.9:2377", *both)


def test_a_node_that_is_no_manager_has_no_address() -> None:
    assert address(Node()) == ""


def test_a_manager_without_a_worker_is_down_once_it_is_none() -> None:
    alone = manager("a", "h:1", 1.0, manager_serials=("5",), etcd_addr="h:2", status=NodeStatus(state="ready"))
    left = without_manager(alone)
    assert (left.spec.role, left.manager_status, left.manager_serials, left.etcd_addr) == ("worker", None, (), "")
    assert left.status.state == "down"
    with_worker = without_manager(replace(alone, agent=True))
    assert with_worker.status.state == "ready"
