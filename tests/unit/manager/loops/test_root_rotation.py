"""Which changes concern the replacement of the root."""

from common.model import Node, RootKey, Service, StoredObject
from common.model.authority import RotationPhase
from common.model.node import ManagerStatus
from manager.loops.root_rotation import keys_of
from manager.store.changes import Change
from tests.fakes.world import World

NODE = Node(id="n", certificate_serials=("1",), certificate_step=1)


def concerns(old: StoredObject | None, new: StoredObject | None) -> bool:
    return list(keys_of(Change(old, new), World().tables)) == ["root"]


def test_the_root_itself_does() -> None:
    assert concerns(RootKey(), RootKey(phase=RotationPhase.TRUST, step=1))


def test_a_node_does_when_its_certificates_change() -> None:
    assert concerns(None, NODE)
    assert concerns(NODE, None)
    assert concerns(NODE, Node(id="n", certificate_serials=("1",), certificate_step=2))
    assert concerns(NODE, Node(id="n", certificate_step=1))
    assert concerns(NODE, Node(id="n", certificate_serials=("1",), certificate_step=1, manager_status=ManagerStatus()))


def test_nothing_else_does() -> None:
    assert not concerns(NODE, Node(id="n", certificate_serials=("1",), certificate_step=1, number=7))
    assert not concerns(None, Service(id="s"))
