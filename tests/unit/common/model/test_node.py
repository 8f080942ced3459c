"""Whose a node's record is."""

from common.model.node import ManagerStatus, Node, NodeDescription, NodeSpec, TunnelKey


def test_an_operators_name_goes_before_the_hosts() -> None:
    node = Node(description=NodeDescription(hostname="host"))
    assert node.name == "host"
    assert Node(spec=NodeSpec(name="first"), description=node.description).name == "first"


def test_a_node_is_a_member_while_somebody_speaks_for_it() -> None:
    worker = Node(certificate_serials=("1",))
    assert (worker.left, worker.member) == (False, True)
    manager = Node(manager_status=ManagerStatus())
    assert (manager.left, manager.member) == (True, True)
    assert not Node().member


def test_a_private_key_is_not_in_a_repr() -> None:
    assert "0101" not in repr(TunnelKey(generation=1, private=b"\x01" * 32, public=b"\x02" * 32))
    assert "0202" in repr(TunnelKey(generation=1, private=b"\x01" * 32, public=b"\x02" * 32))
