"""A node's place, its peers and its networks: what is wrong with a part costs that part."""

import pytest

from common.model.network import IpamConfig
from common.model.node import TunnelKey
from common.wire.messages import Peer
from tests.fakes.world import replace
from tests.unit.worker.net.worlds import BLUE, POOLS, POOLS6, network
from worker.assignments import AssignmentSet
from worker.intake.entries import Refusal
from worker.intake.hosts import (
    MOST_HOST_ADDRESSES,
    read_layout,
    read_mesh_prefix,
    read_network,
    read_peer,
    read_tunnel_keys,
    read_tunnel_port,
)
from worker.intake.identifiers import Unusable, identifier

OWN = identifier("node1")
KEY = b"k" * 32


class Refused(list[tuple[str, str, str]]):
    def __call__(self, kind: str, name: str, why: str) -> None:
        self.append((kind, name, why))


def peer(**changes: object) -> Peer:
    return Peer(**({"node_id": "node2", "number": 2, "addr": "192.0.2.2"} | changes))  # type: ignore[arg-type]


def test_a_peer_is_read_into_types() -> None:
    refused = Refused()
    found = read_peer(peer(keys={1: KEY}, ipv6_addresses=("2001:db8::2",)), refused)
    assert (str(found.addr), found.keys, [str(each) for each in found.ipv6_addresses]) == (
        "192.0.2.2",
        {1: KEY},
        ["2001:db8::2"],
    )
    assert not refused


@pytest.mark.parametrize("wrong", [{"number": 0}, {"number": 4096}, {"addr": "host"}, {"node_id": "a b"}])
def test_a_peer_without_a_way_to_it_is_unusable(wrong: dict[str, object]) -> None:
    with pytest.raises(Unusable):
        read_peer(peer(**wrong), Refused())


def test_a_wrong_key_or_address_costs_no_more_than_that() -> None:
    refused = Refused()
    many = ("nonsense", *(f"2001:db8::{number:x}" for number in range(1, 60)))
    found = read_peer(peer(keys={1: KEY, 2: b"short"}, ipv6_addresses=many), refused)
    assert found.keys == {1: KEY}
    assert len(found.ipv6_addresses) == MOST_HOST_ADDRESSES - 1
    assert [kind for kind, _, _ in refused] == ["address of node", "address of node", "key of node"]


def test_a_network_is_read_with_each_nodes_part() -> None:
    found = read_network(OWN, network(subnet6="fd00:1::/64"), Refused())
    assert (str(found.subnet), str(found.prefix6)) == ("10.1.0.0/16", "fd00:1::/64")
    assert str(found.leases[OWN]) == "10.1.16.0/24"
    first, last = found.parts[OWN]
    assert first < last


def test_a_network_without_a_subnet_waits_for_one() -> None:
    assert read_network(OWN, replace(network(), subnets=()), Refused()).subnet is None


@pytest.mark.parametrize(
    "subnets",
    [
        (IpamConfig(subnet="nonsense"),),
        (IpamConfig(subnet="10.1.0.0/30"),),
        (IpamConfig(subnet="10.1.0.0/16", range="10.2.0.0/24"),),
        (IpamConfig(subnet="10.1.0.0/16"), IpamConfig(subnet="fd00::/120")),
    ],
)
def test_a_network_without_room_is_unusable(subnets: tuple[IpamConfig, ...]) -> None:
    with pytest.raises(Unusable):
        read_network(OWN, replace(network(), subnets=subnets), Refused())


def test_a_wrong_part_of_its_own_makes_a_network_unusable() -> None:
    wrong = {**network().leases, "node2": "10.99.0.0/24"}
    refused = Refused()
    found = read_network(OWN, replace(network(), leases=wrong), refused)
    assert "node2" not in found.leases
    assert [(kind, name) for kind, name, _ in refused] == [("part of network", f"{BLUE}-node2")]
    with pytest.raises(Unusable):
        read_network(OWN, replace(network(), leases={"node1": "10.99.0.0/24"}), Refused())


def test_a_number_of_another_pool_is_no_place() -> None:
    refused: list[Refusal] = []
    assert read_layout(AssignmentSet(), refused) is None
    assert not refused
    assert read_layout(AssignmentSet(node_number=1, address_pools=POOLS), refused) is not None
    assert read_layout(AssignmentSet(node_number=4000, address_pools=("10.0.0.0/24",)), refused) is None
    assert [each.kind for each in refused] == ["address pool"]


def test_the_mesh_has_ipv6_where_the_pools_have() -> None:
    refused: list[Refusal] = []
    assert read_mesh_prefix(AssignmentSet(address_pools=POOLS), refused) is None
    assert str(read_mesh_prefix(AssignmentSet(address_pools=POOLS6), refused)) == "fd00:20:0:ffff:ffff:ffff::/96"
    assert not refused


def test_a_port_that_is_none_is_the_usual_one() -> None:
    refused: list[Refusal] = []
    assert [read_tunnel_port(number, refused) for number in (4790, 0, 70_000, -1)] == [4790, 0, 0, 0]
    assert len(refused) == 2


def test_keys_of_another_length_are_left_out() -> None:
    refused: list[Refusal] = []
    good = TunnelKey(generation=1, private=KEY, public=KEY)
    assert read_tunnel_keys(None, refused) is None
    assert read_tunnel_keys((good, TunnelKey(generation=2, private=KEY, public=b"")), refused) == (good,)
    assert len(refused) == 1
