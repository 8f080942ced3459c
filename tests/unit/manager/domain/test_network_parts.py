"""How a network is cut into parts, and how many it has left."""

from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from common.model.network import IpamConfig, Network
from manager.domain.network_parts import (
    SMALLEST_PART,
    address_range,
    containers_in,
    first_free,
    free_addresses,
    network_of,
    parts_area,
    parts_left,
    parts_taken,
    range_of,
    range_of_cidr,
)

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda at: (at[0], at[0] + at[1])), max_size=6)


def network(subnet: str = "10.0.0.0/24", leases: dict[str, str] | None = None, **config: str) -> Network:
    return Network(id="n", subnets=(IpamConfig(subnet=subnet, **config),), leases=leases or {})


def test_an_ip_range_narrows_the_subnet() -> None:
    assert address_range(network()) == IPv4Network("10.0.0.0/24")
    assert address_range(network(range="10.0.0.128/25")) == IPv4Network("10.0.0.128/25")


def test_parts_come_from_behind_the_virtual_addresses() -> None:
    first, end = parts_area(network())
    whole = range_of_cidr("10.0.0.0/24")
    assert whole[0] < first < end == whole[1]


def test_each_part_leaves_one_less() -> None:
    free = parts_left(network())
    first, _ = parts_area(network())
    part = str(network_of(first, SMALLEST_PART))
    assert parts_left(network(leases={"n1": part})) == free - 1


def test_the_block_around_a_gateway_of_the_users_is_taken() -> None:
    gateway = network(gateway="10.0.0.77")
    assert parts_left(gateway) == parts_left(network()) - 1
    (block,) = [each for each in parts_taken(gateway) if each[0]]
    assert block[1] - block[0] == SMALLEST_PART


def test_not_all_addresses_of_a_part_are_for_containers() -> None:
    assert 0 < containers_in("10.0.0.64/29", "10.0.0.0/24") <= 8
    assert containers_in("10.0.0.64/26", "10.0.0.0/24") > containers_in("10.0.0.64/29", "10.0.0.0/24")


def test_a_network_is_made_of_its_range_again() -> None:
    found = IPv4Network("10.1.2.64/26")
    first, end = range_of(found)
    assert network_of(first, end - first) == found


@given(RANGES, st.sampled_from([1, 2, 4, 8]))
def test_the_first_free_block_is_the_lowest(taken: list[tuple[int, int]], size: int) -> None:
    used = {number for first, end in taken for number in range(first, end)}
    blocks = (at for at in range(0, 64, size) if used.isdisjoint(range(at, at + size)) and at + size <= 64)
    assert first_free((0, 64), size, taken) == next(blocks, None)


@given(RANGES)
def test_free_addresses_are_those_that_nothing_has(taken: list[tuple[int, int]]) -> None:
    used = {number for first, end in taken for number in range(first, end)}
    assert free_addresses((5, 50), taken) == len(set(range(5, 50)) - used)
