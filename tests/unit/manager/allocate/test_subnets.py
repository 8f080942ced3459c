"""Subnets: the user's are checked, others come from the pool."""

from __future__ import annotations

from contextlib import suppress

import pytest

from common.errors import InvalidArgument, ResourceExhausted
from common.model import Cluster, Network, Task, TaskState, TaskStatus
from common.model.container import DriverConfig
from common.model.network import IpamConfig, IpamOptions, NetworkSpec
from common.model.node import ManagerStatus, Node, NodeStatus
from common.model.service import NetworkAttachmentConfig, TaskSpec
from manager.allocate.subnets import FIRST_VNI, allocate_network, subnet_size
from manager.store.tables import Tables
from tests.fakes.world import replace


def view_with(*networks: Network, pool: str = "10.0.0.0/8") -> Tables:
    view = Tables()
    view.of(Cluster).put(Cluster(id="c", default_addr_pool=(pool,)))
    for network in networks:
        view.of(Network).put(network)
    return view


def asking(name: str, *configs: IpamConfig) -> Network:
    return Network(id=name, spec=NetworkSpec(name=name, ipam=IpamOptions(configs=configs)))


def having(name: str, subnet: str, vni: int = 5000) -> Network:
    return Network(id=name, spec=NetworkSpec(name=name), subnets=(IpamConfig(subnet=subnet),), vni=vni)


def test_the_lowest_free_part_of_the_pool_and_the_lowest_number():
    view = view_with(having("a", "10.0.0.0/16", FIRST_VNI), having("c", "10.2.0.0/16", FIRST_VNI + 2))
    network = allocate_network(view, asking("b"))
    assert network.subnets == (IpamConfig(subnet="10.1.0.0/16", gateway="10.1.0.1"),)
    assert network.vni == FIRST_VNI + 1


def test_a_users_small_subnet_is_stepped_over():
    view = view_with(having("a", "10.0.77.0/24"))
    assert allocate_network(view, asking("b")).subnets[0].subnet == "10.1.0.0/16"


def test_what_a_user_gives_is_kept():
    config = IpamConfig(subnet="192.168.0.0/20", range="192.168.8.0/21", gateway="192.168.0.9")
    assert allocate_network(view_with(), asking("a", config)).subnets == (config,)


@pytest.mark.parametrize(
    ("subnet", "address"),
    [("203.0.113.0/24", "203.0.113.9"), ("198.51.100.0/24", "198.51.100.7"), ("2001:db8:7::/64", "2001:db8:7::1")],
)
def test_a_subnet_with_a_hosts_address_is_refused(subnet: str, address: str):
    """Where a task of the network runs, the way to that host would lead into the network: to a manager, for good."""
    view = view_with()
    view.of(Node).put(Node(id="w", status=NodeStatus(addr="203.0.113.9")))
    view.of(Node).put(Node(id="m", manager_status=ManagerStatus(addr="198.51.100.7:2377")))
    view.of(Node).put(Node(id="n", manager_status=ManagerStatus(addr="[2001:db8:7::1]:2377")))
    network = asking("a", IpamConfig(subnet=subnet))
    spec = replace(network.spec, ipv6_enabled=True)
    with pytest.raises(InvalidArgument, match=f"has the address of node ., {address}: choose another"):
        allocate_network(view, replace(network, spec=spec))
    allocate_network(view, asking("b", IpamConfig(subnet="203.0.112.0/24")))


def test_a_subnet_of_the_pool_has_no_hosts_address() -> None:
    """A cloud's own network is often 10.0.0.0/16, the first part of the default pool."""
    view = view_with()
    view.of(Node).put(Node(id="w", status=NodeStatus(addr="10.0.3.9")))
    view.of(Node).put(Node(id="m", manager_status=ManagerStatus(addr="10.2.0.7:2377")))
    first = allocate_network(view, asking("a"))
    assert first.subnets[0].subnet == "10.1.0.0/16"
    view.of(Network).put(first)
    assert allocate_network(view, asking("b")).subnets[0].subnet == "10.3.0.0/16"


def on_the_way_out(network_id: str, address: str, state: TaskState = TaskState.RUNNING) -> Task:
    """A task of a network that is no longer there, as its host has last said of it."""
    return Task(
        id=f"task-{address}",
        node_id="n",
        spec=TaskSpec(networks=(NetworkAttachmentConfig(target=network_id),)),
        status=TaskStatus(state=state, addresses={network_id: address}),
    )


def test_a_removed_networks_range_rests_until_its_last_task_ends():
    view = view_with(having("a", "10.0.0.0/16"))
    view.of(Task).put(on_the_way_out("gone", "10.1.16.2"))
    view.of(Task).put(on_the_way_out("gone too", "10.2.17.9"))
    view.of(Task).put(on_the_way_out("a", "10.0.16.2"))
    assert allocate_network(view, asking("b")).subnets[0].subnet == "10.3.0.0/16"
    view.of(Task).put(on_the_way_out("gone", "10.1.16.2", TaskState.SHUTDOWN))
    assert allocate_network(view, asking("b")).subnets[0].subnet == "10.1.0.0/16"


def test_a_range_that_rests_is_given_where_there_is_no_other():
    view = view_with(pool="10.1.0.0/24")
    free = []
    while (found := allocate_until_full(view)) is not None:
        free.append(found.subnets[0].subnet)
        view.of(Network).put(found)
    view.of(Network).discard("net1")
    view.of(Task).put(on_the_way_out("net1", free[1].replace(".0/", ".2/").split("/")[0]))
    last = allocate_network(view, asking("last"))
    assert last.subnets[0].subnet == free[1]


def allocate_until_full(view: Tables) -> Network | None:
    with suppress(ResourceExhausted):
        return allocate_network(view, asking(f"net{len(view.networks)}"))
    return None


def test_what_a_worker_says_for_an_address_is_not_believed():
    view = view_with()
    for nonsense in ("", "here", "fd00::2", "10.0.0.0/8"):
        view.of(Task).put(on_the_way_out("gone", nonsense))
    assert allocate_network(view, asking("b")).subnets[0].subnet == "10.0.0.0/16"


def dual(name: str, *configs: IpamConfig) -> Network:
    return Network(id=name, spec=NetworkSpec(name=name, ipv6_enabled=True, ipam=IpamOptions(configs=configs)))


def test_an_ipv6_subnet_comes_second_to_an_ipv4_one():
    network = allocate_network(view_with(), dual("a", IpamConfig(subnet="fd00:1::/64")))
    assert [config.subnet for config in network.subnets] == ["10.0.0.0/16", "fd00:1::/64"]
    assert network.subnets[1].gateway == "fd00:1::1"


def test_a_dual_stack_network_gets_matching_parts_of_both_pools():
    view = view_with()
    first = allocate_network(view, dual("a"))
    view.of(Network).put(first)
    second = allocate_network(view, dual("b"))
    (_, one), (_, two) = first.subnets, second.subnets
    assert one.subnet.startswith("fd")
    assert one.subnet.endswith("/64")
    pool = one.subnet.removesuffix("::/64")
    assert two.subnet == f"{pool}:1::/64"
    view.of(Network).discard("a")
    view.of(Network).discard("b")
    view.of(Task).put(on_the_way_out("a", "10.0.16.2"))
    view.of(Task).put(on_the_way_out("b", "10.1.16.2"))
    third = allocate_network(view, dual("c"))
    assert [config.subnet for config in third.subnets] == ["10.2.0.0/16", f"{pool}:2::/64"]


def test_a_pool_for_ipv6_may_be_given():
    view = Tables()
    view.of(Cluster).put(Cluster(id="c", default_addr_pool=("10.0.0.0/8", "fd00:20::/94")))
    subnets = []
    for name in "abc":
        network = allocate_network(view, dual(name))
        view.of(Network).put(network)
        subnets.append(network.subnets[1].subnet)
    assert subnets == ["fd00:20::/96", "fd00:20::1:0:0/96", "fd00:20::2:0:0/96"]
    with pytest.raises(ResourceExhausted, match="fd00:20::/94"):  # the last part is the tunnels'
        allocate_network(view, dual("d"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (IpamConfig(subnet="fd00:1::/112"), "too small: give at least /96"),
        (IpamConfig(subnet="fd00:1::/64", range="fd00:1::/120"), "leave it out, or give --ip-range fd00:1::a00:0/112"),
        (IpamConfig(subnet="fe80::/64"), "not for hosts"),
        (IpamConfig(subnet="fd00:1::/64", gateway="fd00:2::1"), "not inside the subnet"),
    ],
)
def test_an_ipv6_subnet_that_cannot_be_is_refused(config: IpamConfig, said: str):
    with pytest.raises(InvalidArgument, match=said):
        allocate_network(view_with(), dual("a", config))


@pytest.mark.parametrize("part", ["fd00:1::/80", "fd00:1::a05:8000/113"])
def test_an_ipv6_range_is_kept_when_all_addresses_are_in_it(part: str):
    """They follow from the IPv4 ones of 10.5.128.0/17."""
    ipv4 = IpamConfig(subnet="10.5.0.0/16", range="10.5.128.0/17", gateway="10.5.0.1")
    ipv6 = IpamConfig(subnet="fd00:1::/64", range=part, gateway="fd00:1::1")
    assert allocate_network(view_with(), dual("a", ipv6, ipv4)).subnets == (ipv4, ipv6)


def test_an_ipv6_subnet_needs_a_network_that_is_to_have_one():
    with pytest.raises(InvalidArgument, match="give --ipv6 too"):
        allocate_network(view_with(), asking("a", IpamConfig(subnet="fd00:1::/64")))


def test_an_allocated_network_stays_as_it_is():
    view = view_with()
    network = allocate_network(view, asking("a"))
    assert allocate_network(view, network) is network


def test_a_network_of_another_driver_gets_nothing():
    network = Network(id="h", spec=NetworkSpec(name="host", driver=DriverConfig(name="host")))
    assert allocate_network(view_with(), network) is network


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (IpamConfig(subnet="10.0.1.0/24"), r"overlaps 10\.0\.0\.0/16 of network 'db'"),
        (IpamConfig(subnet="10.0.0.0/8"), "overlaps"),
        (IpamConfig(subnet="127.5.0.0/16"), "is not for hosts: give one such as"),
        (IpamConfig(subnet="128.0.0.0/1"), "is not for hosts: give one such as"),
        (IpamConfig(subnet="10.255.7.0/24"), r"overlaps 10\.240\.0\.0/12, which the cluster keeps"),
        (IpamConfig(subnet="10.239.250.0/24"), "overlaps .* keeps for its tunnels"),
        (IpamConfig(subnet="192.168.0.1/24"), "has host bits set"),
        (IpamConfig(subnet="lan"), "'lan' is not a range"),
        (IpamConfig(subnet="192.168.0.0/29"), "too small: give at least /28"),
        (IpamConfig(subnet="192.168.0.0/24", range="192.168.1.0/25"), "is not inside the subnet"),
        (IpamConfig(subnet="192.168.0.0/24", range="192.168.0.0/30"), "ip-range .* too small"),
        (IpamConfig(subnet="192.168.0.0/24", gateway="192.168.1.1"), "gateway .* is not inside"),
        (IpamConfig(subnet="192.168.0.0/24", gateway="fd00::1"), "gateway .* is not inside"),
        (IpamConfig(subnet="192.168.0.0/24", gateway="first"), "is not an address"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(config: IpamConfig, problem: str):
    with pytest.raises(InvalidArgument, match=problem) as caught:
        allocate_network(view_with(having("db", "10.0.0.0/16")), asking("web", config))
    assert "network 'web'" in caught.value.message


def test_two_subnets_of_one_network_must_not_overlap():
    with pytest.raises(InvalidArgument, match="its other subnet"):
        allocate_network(
            view_with(), asking("a", IpamConfig(subnet="192.168.0.0/16"), IpamConfig(subnet="192.168.3.0/24"))
        )


def test_a_pool_used_up_says_so():
    view = view_with(pool="10.0.0.0/24")
    for name in ("a", "b", "c"):
        view.of(Network).put(allocate_network(view, asking(name)))
    with pytest.raises(ResourceExhausted, match=r"no free subnet is left in the address pool 10\.0\.0\.0/24"):
        allocate_network(view, asking("d"))


@pytest.mark.parametrize(
    ("pool", "size", "expected"),
    [("10.0.0.0/8", 24, 16), ("172.16.0.0/12", 24, 20), ("10.1.0.0/16", 24, 24), ("10.0.0.0/8", 22, 22)],
)
def test_the_default_size_grows_with_the_pool_unless_it_is_set(pool: str, size: int, expected: int):
    assert subnet_size(Cluster(default_addr_pool=(pool,), subnet_size=size)) == expected
