"""Plain containers' attachments: how long records stay, which addresses may be asked for, whose leases they keep."""

import random
from ipaddress import IPv4Address

import pytest
from msgspec.structs import replace

from common.errors import AlreadyExists, InvalidArgument
from common.model import Network, NetworkAttachment
from common.model.attachment import AttachedEnd, AttachedNetwork, AttachmentStatus
from common.model.network import IpamConfig, NetworkSpec
from manager.allocate.allocator import allocate
from manager.allocate.attachments import LEASE_LINGER, UNBOUND_SECONDS, check_address, decide
from manager.allocate.leases import holder_of, lease_around
from tests.unit.manager.allocate.test_allocator import NOW, node, world

NET = Network(
    id="net",
    spec=NetworkSpec(name="net"),
    vni=4097,
    subnets=(IpamConfig(subnet="10.5.0.0/16", gateway="10.5.0.1"),),
    leases={"n1": "10.5.16.0/24"},
)


def attachment(**more: object) -> NetworkAttachment:
    fields = {"id": "a1", "node_id": "n1", "name": "box", "networks": (AttachedNetwork(target="net"),)}
    return NetworkAttachment(**{**fields, "created_at": NOW, **more})  # type: ignore[arg-type]


def gone(view, now: float = NOW) -> bool:
    return bool(decide(view, ["a1"], now, random.Random(1)).remove)


def test_an_attachment_stays_with_its_container():
    assert not decide(world(node("n1"), attachment(container_id="c1")), ["a1"], NOW + 1e6, random.Random(1))
    assert not gone(world(node("n1"), attachment(status=AttachmentStatus(container_id="c1"))), NOW + 1e6)


def test_an_unfinished_attachment_goes_once_its_node_could_tell():
    there = world(node("n1"), attachment())
    assert decide(there, ["a1"], NOW, random.Random(1)).wake_at == {"a1": NOW + UNBOUND_SECONDS}
    assert gone(there, NOW + UNBOUND_SECONDS)
    assert not gone(world(node("n1", "down"), attachment()), NOW + UNBOUND_SECONDS)


def test_an_ended_one_and_those_of_a_removed_node_go():
    ended = world(node("n1"), attachment(container_id="c1", ended_at=NOW))
    assert not gone(ended)
    assert gone(ended, NOW + LEASE_LINGER)
    assert gone(world(attachment(container_id="c1")))


def test_a_containers_lease_outlasts_it_for_a_while():
    view = world(node("n1"), replace(NET, leases={}), attachment())
    assert allocate(view, ["lease/net/n1"], NOW).put[0].leases["n1"]  # type: ignore[union-attr]
    assert not allocate(world(node("n1"), NET, attachment()), ["lease/net/n1"], NOW + 1e6).put
    ended = world(node("n1"), NET, attachment(ended_at=NOW))
    assert allocate(ended, ["lease/net/n1"], NOW).wake_at == {"lease/net/n1": NOW + LEASE_LINGER}
    (network,) = allocate(ended, ["lease/net/n1"], NOW + LEASE_LINGER).put
    assert network.leases == {}  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["10.5.0.9", "10.5.0.0", "10.5.255.255", "10.6.0.1", "fd00::1", "five"])
def test_addresses_that_no_container_can_have(text: str):
    with pytest.raises(InvalidArgument, match="net"):
        check_address(world(NET), NET, text)


def test_a_taken_address_is_refused_with_the_holders_name():
    ends = (AttachedEnd(network_id="net", address="10.5.16.9"),)
    view = world(NET, attachment(status=AttachmentStatus(ends=ends)))
    with pytest.raises(AlreadyExists, match="in use by box"):
        check_address(view, NET, "10.5.16.9")
    assert check_address(view, NET, "10.5.16.10") == IPv4Address("10.5.16.10")


def test_a_node_gets_the_part_that_an_address_is_in():
    assert lease_around(NET, "n1", IPv4Address("10.5.16.9"), 3) is NET
    assert lease_around(NET, "n1", IPv4Address("10.5.17.9"), 3) is None, "it has another part"
    assert lease_around(NET, "n2", IPv4Address("10.5.16.9"), 3) is None, "somebody else has it"
    found = lease_around(NET, "n2", IPv4Address("10.5.40.9"), 3)
    assert found is not None
    assert found.leases == {"n1": "10.5.16.0/24", "n2": "10.5.40.0/24"}
    assert holder_of(found, IPv4Address("10.5.40.9")) == "n2"
    assert lease_around(NET, "n2", IPv4Address("10.5.40.1"), 3) is None, "that is its bridge's"
