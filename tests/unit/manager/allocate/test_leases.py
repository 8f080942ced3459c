"""Each node's part of a network."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import Network
from common.model.network import IpamConfig
from common.net.addressing import vip_range
from manager.allocate.leases import lease, release
from manager.domain.network_parts import parts_left


def network(subnet: str, **more: str) -> Network:
    return Network(id="n", subnets=(IpamConfig(subnet=subnet, **more),), vni=1)


def parts(network: Network) -> list[IPv4Network]:
    return [IPv4Network(cidr) for cidr in network.leases.values()]


def test_a_large_subnet_gives_every_node_256_addresses():
    given, without = lease(network("10.1.0.0/16"), ["a", "b"], 3)
    assert given.leases == {"a": "10.1.16.0/24", "b": "10.1.17.0/24"}
    assert not without


def test_a_node_keeps_its_part():
    given, _ = lease(network("10.1.0.0/16"), ["a"], 1)
    assert lease(given, ["a"], 1)[0] is given


def test_a_part_given_back_is_free_again():
    given, _ = lease(network("10.1.0.0/16"), ["a", "b"], 2)
    again, _ = lease(release(given, ["a"]), ["c"], 2)
    assert again.leases == {"b": "10.1.17.0/24", "c": "10.1.16.0/24"}


def test_a_small_subnet_is_shared_by_all_nodes():
    given, without = lease(network("10.1.0.0/24"), [f"n{i}" for i in range(10)], 10)
    assert not without
    assert {part.prefixlen for part in parts(given)} == {28}


def test_a_cluster_that_grows_to_1000_nodes_has_room_for_each():
    current = network("10.1.0.0/16")
    for known in range(0, 1000, 4):
        current, without = lease(current, [f"n{number}" for number in range(known, known + 4)], known + 4)
        assert not without, f"no room among {known + 4} nodes"
    assert len(current.leases) == 1000
    vips = vip_range(IPv4Network("10.1.0.0/16"))
    ranges = sorted([vips, *parts(current)], key=lambda part: part.network_address)
    assert all(one.broadcast_address < other.network_address for one, other in pairwise(ranges))


def test_who_finds_no_room_is_named():
    given, without = lease(network("10.1.0.0/28"), ["a", "b"], 2)
    assert list(given.leases) == ["a"]
    assert list(without) == ["b"]


def test_parts_come_from_the_users_range_and_spare_the_gateway():
    given, _ = lease(
        network("10.1.0.0/16", range="10.1.128.0/24", gateway="10.1.128.33"), [f"n{i}" for i in range(30)], 30
    )
    assert all(part.subnet_of(IPv4Network("10.1.128.0/24")) for part in parts(given))
    assert not any(IPv4Network("10.1.128.33/32").subnet_of(part) for part in parts(given))


@settings(deadline=None)
@given(
    nodes=st.integers(1, 40),
    prefix=st.integers(24, 28),
    joined=st.integers(0, 40),
    gone=st.sets(st.integers(0, 39)),
    gateway=st.sampled_from(["", "10.1.0.1", "10.1.0.130"]),
)
def test_so_many_nodes_get_a_part_as_there_are_said_to_be_left(
    nodes: int, prefix: int, joined: int, gone: set[int], gateway: str
):
    """However many came and went before; the others are those who find no room."""
    before, _ = lease(network(f"10.1.0.0/{prefix}", gateway=gateway), [f"n{i}" for i in range(joined)], max(1, joined))
    current = release(before, [f"n{i}" for i in gone])
    lacking = [f"n{i}" for i in range(nodes) if f"n{i}" not in current.leases]
    after, without = lease(current, lacking, max(nodes, len(current.leases)))
    assert len(without) == max(0, len(lacking) - parts_left(current))
    assert len(after.leases) - len(current.leases) == len(lacking) - len(without)
