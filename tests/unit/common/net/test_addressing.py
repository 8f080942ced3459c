"""Dividing the address pool: what manager and worker must both come to."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import pairwise

import pytest

from common.errors import InvalidArgument
from common.net.addressing import fold, gateway_range, is_hostname, layout, same_name, tunnel_address, vip_range


def test_the_default_pool_has_a_24_for_each_of_4095_nodes():
    pools = ("10.0.0.0/8",)
    assert layout(pools).numbers == 4095
    assert gateway_range(pools, 1) == "10.240.1.0/24"
    assert gateway_range(pools, 4095) == "10.255.255.0/24"
    assert tunnel_address(pools, 1) == "10.239.240.1"
    assert tunnel_address(pools, 4095) == "10.239.255.255"


@pytest.mark.parametrize(
    ("pool", "numbers", "first"),
    [
        ("172.16.0.0/12", 255, "172.31.1.0/24"),
        ("10.20.0.0/16", 63, "10.20.240.64/26"),
        ("10.0.0.0/24", 3, "10.0.0.244/30"),
    ],
)
def test_a_smaller_pool_has_fewer_numbers_and_smaller_ranges(pool: str, numbers: int, first: str):
    assert layout([pool]).numbers == numbers
    assert gateway_range([pool], 1) == first


@pytest.mark.parametrize("prefix", range(4, 25))
def test_ranges_lie_in_the_pool_and_never_meet(prefix: int):
    plan = layout([f"16.0.0.0/{prefix}"])
    tunnels, gateways = plan.reserved()
    assert not tunnels.overlaps(gateways)
    assert tunnels.subnet_of(plan.pool)
    assert gateways.subnet_of(plan.pool)
    numbers = sorted({1, 2, 3, plan.numbers // 2, plan.numbers - 1, plan.numbers})
    ranges = [plan.gateway_range(number) for number in numbers if number]
    assert all(each.subnet_of(gateways) for each in ranges)
    assert all(one.broadcast_address < other.network_address for one, other in pairwise(ranges))
    assert all(plan.tunnel_address(number) in tunnels for number in numbers if number)


def test_the_first_ipv4_pool_counts():
    assert layout(["fd00::/48", "10.20.0.0/16", "10.0.0.0/8"]).pool == IPv4Network("10.20.0.0/16")


@pytest.mark.parametrize("pools", [["fd00::/48"], [], ["10.0.0.0/25"], ["10.0.0.1/8"], ["lan"]])
def test_a_pool_that_cannot_be_divided_is_refused(pools: list[str]):
    with pytest.raises(InvalidArgument, match="pool"):
        layout(pools)


@pytest.mark.parametrize("number", [0, -1, 64])
def test_a_number_without_room_is_refused(number: int):
    with pytest.raises(InvalidArgument, match="room for 1 to 63"):
        gateway_range(["10.20.0.0/16"], number)
    with pytest.raises(InvalidArgument, match="room for 1 to 63"):
        tunnel_address(["10.20.0.0/16"], number)


@pytest.mark.parametrize(
    ("network", "vips"),
    [("10.1.0.0/16", "10.1.0.0/20"), ("10.0.1.0/24", "10.0.1.0/27"), ("10.0.1.0/28", "10.0.1.0/29")],
)
def test_virtual_addresses_come_from_the_front(network: str, vips: str):
    assert vip_range(IPv4Network(network)) == IPv4Network(vips)


@pytest.mark.parametrize("name", ["a", "web-1", "node_2.example.org", "9front", "a" * 253])
def test_hosts_can_be_called_so(name: str) -> None:
    assert is_hostname(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", ".a", "a.", "a b", "a/b", "a\n", "é", "a" * 254, "a\x1bb"])
def test_no_host_can_be_called_so(name: str) -> None:
    assert not is_hostname(name)


def test_case_makes_no_other_host() -> None:
    assert same_name("Web-1", "wEB-1")
    assert not same_name("web-1", "web-2")
    assert fold("Web") == fold("WEB")
