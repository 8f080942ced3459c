"""Tasks and their addresses: kept over repeats, changes of leases and restarts; rested and never given twice."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from common.clock import Clock
from common.errors import AlreadyExists, ResourceExhausted, Unavailable
from common.wire.messages import MESH
from tests.unit.worker.net.worlds import BLUE, facts, network, world
from worker.intake.addresses import IPAddress
from worker.interfaces.engine import Container
from worker.net.ipam import REST_SECONDS, AddressPool, TaskAddresses, addresses_of
from worker.net.plan.host_plan import plan


class Hands(Clock):
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def addresses() -> TaskAddresses:
    found = TaskAddresses(Hands())
    found.fit(plan(world(), (), (), facts()).topology)
    return found


def ip(**texts: str) -> dict[str, IPAddress]:
    return {{"mesh": MESH, "blue": BLUE}[name]: IPv4Address(text) for name, text in texts.items()}


def test_a_task_gets_an_address_in_each_network_and_keeps_it(addresses: TaskAddresses):
    assert addresses.take("t1", [MESH, BLUE]) == 0
    assert addresses.of("t1") == ip(mesh="10.240.1.2", blue="10.1.16.2")
    assert addresses.take("t1", [MESH, BLUE]) == 0
    assert addresses.of("t1") == ip(mesh="10.240.1.2", blue="10.1.16.2")
    assert set(addresses.in_use) == set(ip(mesh="10.240.1.2", blue="10.1.16.2").values())


def test_a_network_without_a_part_for_this_host_is_waited_for(addresses: TaskAddresses):
    with pytest.raises(Unavailable, match="no addresses"):
        addresses.take("t1", ["green"])


def test_what_is_given_back_is_forgotten_once(addresses: TaskAddresses):
    addresses.take("t1", [BLUE])
    addresses.draining.add("t1")
    assert addresses.release("t1")
    assert not addresses.release("t1")
    assert not addresses.draining
    assert not addresses.in_use


def test_addresses_held_before_the_leases_came_are_not_given_out():
    found = TaskAddresses(Hands())
    found.hold("old", BLUE, IPv4Address("10.1.16.2"))
    found.fit(plan(world(), (), (), facts()).topology)
    found.take("t1", [BLUE])
    assert found.of("t1") == ip(blue="10.1.16.3")


def test_a_removed_network_is_forgotten_once_its_addresses_rest():
    clock = Hands()
    found = TaskAddresses(clock)
    here, gone = (plan(world(networks=each), (), (), facts()).topology for each in ((network(),), ()))
    for seconds, address in ((0.0, "10.1.16.2"), (1.0, "10.1.16.4"), (REST_SECONDS + 1, "10.1.16.2")):
        clock.time += seconds
        found.fit(gone)
        found.fit(here)
        found.take("t1", [BLUE])
        assert found.of("t1") == ip(blue=address)
        found.fit(gone)
        found.fit(here)
        found.take("t2", [BLUE])
        assert found.of("t2") != found.of("t1"), "what a task has is no other's, whatever is said of the network"
        found.release("t2")
        found.release("t1")


def test_a_new_lease_has_new_addresses_and_tasks_keep_the_old(addresses: TaskAddresses):
    addresses.take("t1", [BLUE])
    moved = network(subnet="10.7.0.0/16")
    addresses.fit(plan(world(networks=(moved,)), (), (), facts()).topology)
    addresses.take("t2", [BLUE])
    assert addresses.of("t1") == ip(blue="10.1.16.2")
    assert addresses.of("t2") == ip(blue="10.7.16.2")


def test_a_containers_addresses_are_read_by_the_networks_names():
    container = Container(id="c", addresses={"orc-blue-blue0": "10.1.16.9", "bridge": "172.17.0.2"})
    assert dict(addresses_of(container, {"orc-blue-blue0": BLUE})) == ip(blue="10.1.16.9")


def test_an_engines_nonsense_is_nobodys_address():
    container = Container(id="c", addresses={"orc-blue-blue0": "nowhere; reboot", "00-orc-gw": "10.240.1.9"})
    assert dict(addresses_of(container, {"orc-blue-blue0": BLUE, "00-orc-gw": MESH})) == ip(mesh="10.240.1.9")


def test_leaving_a_network_returns_its_address_and_keeps_others(addresses: TaskAddresses):
    addresses.take("a1", [MESH, BLUE])
    before = dict(addresses.of("a1"))
    assert addresses.take("a1", [MESH]) == 0
    assert addresses.of("a1") == {MESH: before[MESH]}
    addresses.take("t2", [BLUE])
    assert addresses.of("t2")[BLUE] != before[BLUE], "it rests"


def test_a_reserved_address_is_for_one_and_refused_to_others(addresses: TaskAddresses):
    addresses.take("t1", [BLUE])
    taken = addresses.of("t1")[BLUE]
    with pytest.raises(AlreadyExists, match=f"{taken} is in use on this host, by t1"):
        addresses.reserve("a1", {BLUE: taken})
    free = IPv4Address(int(taken) + 1)
    addresses.reserve("a1", {BLUE: free})
    addresses.take("t2", [BLUE])
    assert addresses.of("t2")[BLUE] not in (taken, free)
    assert addresses.take("a1", [BLUE]) == 0
    assert addresses.of("a1")[BLUE] == free


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


def test_a_clock_set_back_does_not_prolong_the_rest_of_addresses():
    pool = AddressPool(LEASE, SUBNET)
    taken = [pool.take(f"t{i}", 5000.0) for i in range(6)]
    assert isinstance(taken[0], IPv4Address)
    pool.release(taken[0], 5000.0)
    assert pool.take("t9", 100.0) == taken[0]
