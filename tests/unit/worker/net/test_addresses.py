"""Addresses go round, rest after use, and are never given twice."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from common.errors import ResourceExhausted
from worker.net.attachments import REST_SECONDS, AddressPool

LEASE, SUBNET = IPv4Network("10.1.16.0/29"), IPv4Network("10.1.0.0/16")


def test_the_leases_own_address_and_the_bridges_are_nobodys():
    pool = AddressPool(LEASE, SUBNET)
    assert [pool.take(f"t{i}", 0.0) for i in range(6)] == [IPv4Address(f"10.1.16.{i}") for i in (2, 3, 4, 5, 6, 7)]
    with pytest.raises(ResourceExhausted, match=r"10\.1\.16\.0/29"):
        pool.take("t9", 0.0)


def test_the_subnets_broadcast_address_is_nobodys():
    pool = AddressPool(IPv4Network("10.1.255.248/29"), SUBNET)
    assert [pool.take(f"t{i}", 0.0) for i in range(5)][-1] == IPv4Address("10.1.255.254")
    with pytest.raises(ResourceExhausted):
        pool.take("t9", 0.0)


def test_a_just_returned_address_is_reused_last():
    pool = AddressPool(LEASE, SUBNET)
    first = pool.take("t1", 0.0)
    assert isinstance(first, IPv4Address)
    pool.release(first, 1.0)
    later = [pool.take(f"t{i}", 1.0) for i in range(5)]
    assert first not in later
    assert pool.take("t9", 2.0) == REST_SECONDS - 1
    assert pool.take("t9", 1.0 + REST_SECONDS) == first


def test_an_adopted_containers_address_is_taken():
    pool = AddressPool(LEASE, SUBNET)
    pool.hold("t1", IPv4Address("10.1.16.3"))
    assert [pool.take(f"t{i}", 0.0) for i in range(5)] == [IPv4Address(f"10.1.16.{i}") for i in (4, 5, 6, 7, 2)]
    pool.hold("t2", IPv4Address("10.9.9.9"))  # of a lease that this host had before


def test_giving_back_twice_does_not_make_it_rest_longer():
    pool = AddressPool(LEASE, SUBNET)
    taken = [pool.take(f"t{i}", 0.0) for i in range(6)]
    assert isinstance(taken[0], IPv4Address)
    pool.release(taken[0], 0.0)
    pool.release(taken[0], 5.0)
    assert pool.take("t9", REST_SECONDS) == taken[0]


def test_a_clock_set_back_does_not_prolong_an_addresss_rest():
    pool = AddressPool(LEASE, SUBNET)
    taken = [pool.take(f"t{i}", 5000.0) for i in range(6)]
    assert isinstance(taken[0], IPv4Address)
    pool.release(taken[0], 5000.0)
    assert pool.take("t9", 100.0) == taken[0]
