"""What a host is to have where containers have IPv6: addresses that follow, links, tables, and what cannot be."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from common.errors import InvalidArgument
from common.model.container import DriverConfig
from common.net.addressing import cluster_pools, mesh_prefix, subnet_size, with_ipv4
from common.wire.messages import Peer
from tests.unit.worker.net.worlds import (
    BLUE,
    POOLS6,
    RED,
    backend,
    endpoint,
    facts,
    ips,
    mesh6,
    network,
    packed,
    port,
    world,
)
from worker.intake.addresses import Protocol
from worker.net.plan.host_plan import HostPlan, Purge, plan, purge
from worker.net.plan.kernel import Address, HardwareAddress, Neighbour, Route
from worker.net.plan.ruleset import Ruleset
from worker.net.plan.service_table import Choice, ServiceTable

BRIDGE = "oc-blue00000000"
PREFIX = "fd00:1::/64"
TUNNELS = "fd00:20:0:ffff:ffff:ffff:aef:f00"


def dual(*endpoints, addresses=(), networks=None, draining=(), **more) -> HostPlan:
    """Plan a host with a dual-stack network, or with these."""
    there = (network(subnet6=PREFIX),) if networks is None else networks
    seen = facts(**{"ipv6": True, **more})
    return plan(world(*endpoints, networks=there, address_pools=POOLS6), addresses, draining, seen)


def table(found: HostPlan, family: str) -> Ruleset:
    (one,) = [each for each in found.rulesets if each.family == family]
    return one


def services(found: HostPlan, family: str) -> ServiceTable:
    (one,) = [each for each in found.services if each.family == family]
    return one


def test_a_clusters_own_pool_is_local_and_always_the_same():
    pools = cluster_pools("abc", ("10.0.0.0/8",))
    assert pools == cluster_pools("abc", ("10.0.0.0/8",))
    assert pools != cluster_pools("abd", ("10.0.0.0/8",))
    (made,) = pools[1:]
    assert IPv6Network(made).subnet_of(IPv6Network("fd00::/8"))
    assert cluster_pools("abc", POOLS6) == POOLS6
    assert mesh_prefix(POOLS6) == IPv6Network("fd00:20:0:ffff:ffff:ffff::/96")
    assert mesh_prefix(("10.0.0.0/8",)) is None


def test_a_pool_too_small_for_a_network_is_refused():
    with pytest.raises(InvalidArgument, match="at least /95"):
        mesh_prefix(("10.0.0.0/8", "fd00::/96"))
    with pytest.raises(InvalidArgument, match="is not a range"):
        mesh_prefix(("fd00::1/64",))


@pytest.mark.parametrize(("pool", "size"), [("fd00::/48", 64), ("fd00::/56", 64), ("fd00::/64", 96)])
def test_subnets_are_as_large_as_the_pool_allows(pool: str, size: int):
    assert subnet_size(IPv6Network(pool)) == size


def test_an_address_ends_in_the_ipv4_one():
    assert str(with_ipv4(IPv6Network(PREFIX), IPv4Address("10.1.16.2"))) == "fd00:1::a01:1002"


def test_docker_gets_both_ranges():
    found = dual(networks=(network(subnet6=PREFIX), network(RED, "10.2.0.0/16")))
    body = found.networks["orc-blue-blue0"].body("node1")
    assert body["EnableIPv6"]
    assert body["IPAM"]["Config"][1] == {
        "Subnet": PREFIX,
        "IPRange": "fd00:1::a01:1000/120",
        "Gateway": "fd00:1::a01:1001",
    }
    gateway = found.networks["00-orc-gw"].body("node1")
    assert gateway["IPAM"]["Config"][1]["Subnet"] == "fd00:20:0:ffff:ffff:ffff:af0:100/120"
    assert not found.networks["orc-red-red00"].body("node1")["EnableIPv6"]


def test_a_docker_network_without_ipv6_is_another_one():
    (wanted, before) = (
        (dual() if ipv6 else dual(ipv6=False, networks=())).networks["00-orc-gw"] for ipv6 in (True, False)
    )
    assert wanted.same_as(wanted.body("node1"))
    assert wanted.overlaps(wanted.body("node1"))
    assert not wanted.same_as(before.body("node1"))
    assert not wanted.is_half_of(before.body("node1"))
    assert before.is_half_of(wanted.body("node1"))
    assert not before.same_as(wanted.body("node1"))


def test_the_overlay_leads_to_each_peer_and_its_network_part():
    found = dual()
    for number in (2, 3):
        way, mac = f"{TUNNELS}{number}", f"02:6f:63:00:00:0{number}"
        assert {
            Neighbour("orc-vx", way, mac),
            Route(f"{way}/128", "orc-vx", way, f"{TUNNELS}1"),
            Route(f"fd00:20:0:ffff:ffff:ffff:af0:{number}00/120", "orc-vx", way, f"{TUNNELS}1"),
            Route(f"fd00:1::a01:1{number - 1}00/120", "orc-vx", way, "fd00:1::a01:1001"),
        } <= found.items
    assert {
        Address("orc-vx", f"{TUNNELS}1/128"),
        Address("oc-gw", "fd00:20:0:ffff:ffff:ffff:af0:101/120"),
        Address(BRIDGE, "fd00:1::a01:1001/64"),
        HardwareAddress(BRIDGE, "02:6f:63:01:00:01"),
        Route("fd00:1::a01:0/116", "lo", table=255),
    } <= found.items


def test_state_does_not_grow_with_containers():
    few = dual(endpoint(backend(2, ipv6=True)), addresses=ips("10.1.16.2"))
    tasks = [backend(number, 2, ipv6=True) for number in range(2, 200)]
    many = dual(endpoint(*tasks), addresses=ips(*(f"10.1.16.{i}" for i in range(2, 200))))
    assert few.items == many.items
    assert table(few, "bridge") == table(many, "bridge")


@pytest.mark.parametrize(("mtu", "fits"), [(1360, True), (1359, False)])
def test_an_encrypted_network_needs_a_larger_link_for_ipv6(mtu: int, fits: bool):
    secret = network(subnet6=PREFIX, driver=DriverConfig(options={"encrypted": ""}))
    found = dual(networks=(secret,), encrypts=True, mtu=mtu)
    assert (BLUE in found.topology.segments) is fits
    assert (
        fits
        or "an MTU of 1360 bytes, and this host's link to the other nodes has 1359" in found.topology.problems[BLUE]
    )


def test_a_host_without_ipv6_has_nothing_of_it():
    found = dual(ipv6=False)
    assert [each.family for each in found.rulesets] == ["ip"]
    assert found.way_back is not None
    assert not [rule for chain in found.way_back.chains.values() for rule in chain.rules if "ip6" in rule]
    assert not [item for item in found.items if "::" in str(item)]
    assert not [path for path in found.sysctls if "ipv6" in path]
    assert "has none for containers" in found.topology.problems[BLUE]
    assert list(found.networks) == ["00-orc-gw"]


def test_a_subnet_that_the_host_reaches_elsewhere_is_left_out():
    found = dual(ranges6=(IPv6Network("fd00:1::/48"),))
    assert "fd00:1::/48" in found.topology.problems[BLUE]
    assert "--subnet" in found.topology.problems[BLUE]


def test_a_host_still_learns_its_default_route_from_routers():
    settings = list(dual(advertised_links=frozenset({"eth0"})).sysctls.items())
    heard = settings.index(("net/ipv6/conf/eth0/accept_ra", "2"))
    assert heard < settings.index(("net/ipv6/conf/all/forwarding", "1"))


def test_a_virtual_address_is_balanced_over_the_backends():
    found = services(dual(endpoint(backend(2), backend(3, 2))), "ip6")
    chain = found.vips[BRIDGE, *packed("fd00:1::a01:9")]
    prefix = IPv6Address("fd00:1::").packed[:12]
    assert found.chains == {chain: Choice(packed("10.1.16.2", "10.1.17.3"), prefix=prefix)}


def test_a_published_port_goes_to_those_tasks_that_have_ipv6():
    ports = (port(), port(8081, host_ip="fd00::7"), port(8082, host_ip="127.0.0.1"))
    found = dual(endpoint(backend(2, ipv6=True), backend(3, 3), ports=ports))
    here = services(found, "ip6")
    assert here.mesh == {("tcp", 8080): "m_tcp_8080"}
    assert here.chains["m_tcp_8080"] == Choice(packed(mesh6(1, 2)), Protocol.TCP, 80)
    assert list(here.at_address) == [(*packed("fd00::7"), "tcp", 8081)]
    assert list(table(found, "ip6").lookups["portsaddr"].elements) == ["fd00::7 . tcp . 8081"]
    assert list(table(found, "ip").lookups["portsaddr"].elements) == ["127.0.0.1 . tcp . 8082"]
    without = dual(endpoint(backend(3, 3), ports=(port(),)))
    assert not services(without, "ip6").mesh
    assert "tcp . 8080" in table(without, "ip6").lookups["ports"].elements


def test_a_port_at_the_loopback_address_is_carried_over_ipv4():
    ports = (port(host_ip="::1"), port(8080, host_ip="127.0.0.1"))
    found = dual(endpoint(backend(2, ipv6=True), ports=ports))
    assert set(map(str, found.ports)) == {"[::1]:8080/tcp", "127.0.0.1:8080/tcp"}
    ipv4, ipv6 = services(found, "ip"), services(found, "ip6")
    assert {(each, "tcp", 8080) for each in packed("127.0.0.6", "127.0.0.1")} <= ipv4.at_address.keys()
    assert ipv4.chains["m_tcp_8080_127_0_0_6"] == Choice(packed("10.240.1.2"), Protocol.TCP, 80)
    assert "127.0.0.6 . tcp . 8080" in table(found, "ip").lookups["portsaddr"].elements
    assert not ipv6.at_address
    assert not table(found, "ip6").lookups["portsaddr"].elements


def test_neighbours_are_counted_before_and_after_firewalls():
    chains = table(dual(), "ip6").chains
    neighbours = 'iifname "oc-*" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }'
    assert chains["h_in"].rules[0] == f'{neighbours} counter name "neighbours_came"'
    assert chains["h_let"].rules == (f'{neighbours} counter name "neighbours_let"',)


def test_containers_that_reach_themselves_are_masqueraded():
    pairs = table(dual(addresses=ips("10.1.16.2", "10.240.1.2", mesh6(1, 2))), "ip6").lookups["selfpair"].elements
    assert list(pairs) == sorted(f"{each} . {each}" for each in ("fd00:1::a01:1002", mesh6(1, 2)))


def test_a_node_that_would_reach_itself_is_masqueraded():
    peer = Peer(node_id="node2", number=2, addr="192.168.7.2", ipv6_addresses=("fd00::2", "fd00::3"))
    here = world(networks=(), address_pools=POOLS6, peers={"node2": peer})
    found = table(plan(here, (), (), facts(ipv6=True)), "ip6").lookups["nodeloop"].elements
    gateways = "fd00:20:0:ffff:ffff:ffff:af0:200/120"
    assert list(found) == [f"fd00::2 . {gateways}", f"fd00::3 . {gateways}"]


def test_networks_are_told_apart_by_bridge_and_range():
    lookups = table(dual(networks=(network(subnet6=PREFIX), network(RED, "10.2.0.0/16", "fd00:2::/64"))), "ip6").lookups
    assert set(lookups["netpair"].elements) == {f'"{BRIDGE}" . {PREFIX}', '"oc-red000000000" . fd00:2::/64'}
    assert {PREFIX, "fd00:2::/64", "fd00:20:0:ffff:ffff:ffff::/96"} == set(lookups["cluster"].elements)


def test_connections_to_a_lost_task_are_cut_in_both_families():
    both = dual(endpoint(backend(2, ipv6=True), backend(3, 2, ipv6=True)))
    gone = dual(endpoint(backend(2, ipv6=True)))
    expected = ("10.1.17.3", "10.240.2.3", "fd00:1::a01:1103", mesh6(2, 3))
    assert purge(both, gone) == Purge(backends=tuple(sorted(expected)))
