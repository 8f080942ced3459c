"""Which changes concern the attachments of plain containers."""

from common.model import NetworkAttachment, Node, Service
from manager.loops.attachments import all_keys, attachment_rule, keys_of
from manager.store.changes import Change
from tests.fakes.world import World


def world() -> World:
    found = World()
    found.put(NetworkAttachment(id="a", node_id="n1", name="x"), NetworkAttachment(id="b", node_id="n2", name="y"))
    return found


def test_an_attachment_concerns_itself_until_it_is_gone() -> None:
    one = NetworkAttachment(id="a")
    assert list(keys_of(Change(None, one), world().tables)) == ["a"]
    assert list(keys_of(Change(one, None), world().tables)) == []


def test_a_node_that_went_concerns_its_attachments() -> None:
    node = Node(id="n1")
    assert list(keys_of(Change(node, None), world().tables)) == ["a"]
    assert list(keys_of(Change(node, Node(id="n1", number=1)), world().tables)) == []


def test_nothing_else_concerns_them() -> None:
    assert list(keys_of(Change(Service(id="s"), None), world().tables)) == []
    assert list(all_keys(world().tables)) == ["a", "b"]
    assert attachment_rule().name == "attachments"
