"""What a host is to have: links, routes, networks, settings; and what ends between two plans."""

import dataclasses
from ipaddress import IPv4Network

import msgspec
import pytest

from common.model.container import DriverConfig
from common.wire.messages import MESH
from tests.unit.worker.net.worlds import BLUE, RED, backend, endpoint, facts, ips, network, port, world
from worker.intake.addresses import port as listened
from worker.net.plan.host_plan import Memory, Purge, plan, purge
from worker.net.plan.kernel import Forwarding, Neighbour, Route, Tunnel

BRIDGE = "oc-blue00000000"


def test_a_host_without_a_number_gets_nothing():
    for bare in (world(node_number=0), world(address_pools=()), world(node_number=5000)):
        found = plan(bare, (), (), facts())
        assert (found.networks, found.tunnel, found.items, found.ruleset) == ({}, None, frozenset(), None)


def test_each_network_is_a_bridge_with_its_subnet_and_own_range():
    found = plan(world(networks=(network(), network(RED, "10.2.0.0/16", internal=True))), (), (), facts())
    assert sorted(found.networks) == ["00-orc-gw", "orc-blue-blue0", "orc-red-red00"]
    body = found.networks["orc-blue-blue0"].body("node1")
    assert body["IPAM"]["Config"] == [{"Subnet": "10.1.0.0/16", "IPRange": "10.1.16.0/24", "Gateway": "10.1.16.1"}]
    assert body["Options"]["com.docker.network.bridge.name"] == BRIDGE
    assert body["Options"]["com.docker.network.driver.mtu"] == "1450"
    assert not body["Internal"]
    assert found.networks["orc-red-red00"].body("node1")["Internal"]
    gateway = found.networks["00-orc-gw"].body("node1")
    assert gateway["IPAM"]["Config"][0]["Subnet"] == "10.240.1.0/24"
    assert gateway["Options"]["com.docker.network.bridge.enable_icc"] == "false"


@pytest.mark.parametrize(("asked", "mtu"), [("1300", "1300"), ("9000", "1450")])
def test_a_networks_mtu_is_the_users_and_fits_the_tunnel(asked: str, mtu: str):
    driver = DriverConfig(options={"com.docker.network.driver.mtu": asked})
    found = plan(world(networks=(network(driver=driver),)), (), (), facts())
    assert found.networks["orc-blue-blue0"].body("node1")["Options"]["com.docker.network.driver.mtu"] == mtu


def test_docker_routes_by_the_gateway_network_whatever_the_names():
    named = msgspec.structs.replace(network(), spec=msgspec.structs.replace(network().spec, name="0"))
    assert min(plan(world(networks=(named,)), (), (), facts()).networks) == "00-orc-gw"


def test_the_overlay_leads_to_peers_and_their_parts_of_networks():
    found = plan(world(), (), (), facts())
    assert found.tunnel == Tunnel("orc-vx", "02:6f:63:00:00:01", 4096, 4789, "192.168.7.1", 1450)
    for number in (2, 3):
        gateway, mac = f"10.239.240.{number}", f"02:6f:63:00:00:0{number}"
        assert {
            Neighbour("orc-vx", gateway, mac),
            Forwarding("orc-vx", mac, f"192.168.7.{number}"),
            Route(f"{gateway}/32", "orc-vx", gateway, "10.239.240.1"),
            Route(f"10.240.{number}.0/24", "orc-vx", gateway, "10.239.240.1"),
            Route(f"10.1.{15 + number}.0/24", "orc-vx", gateway, "10.1.16.1"),
        } <= found.items
    assert Route("10.1.0.0/20", "lo", table=255) in found.items
    assert found.sysctls[f"net/ipv4/conf/{BRIDGE}/proxy_arp"] == "1"


def test_tunnels_use_the_clusters_data_path_port():
    memory = Memory()
    usual = plan(world(), (), (), facts(), memory)
    found = plan(world(data_path_port=5789), (), (), facts(), memory)
    assert usual.tunnel is not None
    assert found.tunnel == dataclasses.replace(usual.tunnel, port=5789)
    assert found.ruleset is not None
    assert "udp dport 5789 drop" in found.ruleset.chains["h_in"].rules
    assert not any("4789" in rule for chain in found.ruleset.chains.values() for rule in chain.rules)


def test_state_grows_with_peers_and_networks_not_with_containers():
    few = plan(world(endpoint(backend(2))), ips("10.1.16.2"), (), facts())
    many = plan(
        world(endpoint(*map(backend, range(2, 200)))), ips(*(f"10.1.16.{i}" for i in range(2, 200))), (), facts()
    )
    assert few.items == many.items


def test_without_peers_or_their_route_there_is_no_tunnel():
    found = plan(world(peers={}), (), (), facts(address=""))
    assert found.tunnel is None
    assert all(isinstance(item, Route) and item.link == "lo" for item in found.items)


def test_mtu_follows_the_link_that_carries_the_tunnel():
    found = plan(world(), (), (), facts(mtu=9000))
    assert found.tunnel is not None
    assert found.tunnel.mtu == 8950
    assert {network.mtu for network in found.networks.values()} == {8950}


def test_a_subnet_that_the_host_reaches_elsewhere_is_left_out():
    found = plan(world(), (), (), facts(ranges=(IPv4Network("10.1.5.0/24"),)))
    assert list(found.networks) == ["00-orc-gw"]
    assert "10.1.5.0/24" in found.topology.problems[BLUE]
    assert "--subnet" in found.topology.problems[BLUE]


def test_no_rules_are_made_if_the_host_uses_the_reserved_part():
    found = plan(world(), (), (), facts(ranges=(IPv4Network("10.241.0.0/16"),)))
    assert found.ruleset is None
    assert "--default-addr-pool" in found.topology.problems[MESH]


def test_connections_to_lost_but_not_draining_tasks_are_cut():
    both = plan(world(endpoint(backend(2), backend(3, 2))), (), (), facts())
    drains = plan(world(endpoint(backend(2), draining=(backend(3, 2),))), (), (), facts())
    gone = plan(world(endpoint(backend(2))), (), (), facts())
    assert purge(both, drains) == Purge()
    assert purge(drains, gone) == Purge(backends=("10.1.17.3", "10.240.2.3"))
    assert purge(both, gone) == purge(drains, gone)


def test_packets_to_a_udp_port_without_backends_are_forgotten():
    """Before it was published, while it had no backends, and while another program had it."""
    ports = (port(53, protocol="udp"), port())
    unpublished = plan(world(endpoint(backend(2))), (), (), facts())
    empty = plan(world(endpoint(ports=ports)), (), (), facts())
    answered = plan(world(endpoint(backend(2), ports=ports)), (), (), facts())
    held = plan(world(endpoint(backend(2), ports=ports)), (), (), facts(held=frozenset({listened("udp", 53, "")})))
    ending = plan(world(endpoint(backend(2), ports=ports)), (), ("t2",), facts())
    for before in (unpublished, empty, held, ending):
        assert purge(before, answered).udp_ports == (53,)
    for before in (unpublished, answered, held, ending):
        assert not purge(before, empty).udp_ports


@pytest.mark.parametrize("change", [{}, {"address": "192.168.7.9"}, {"mtu": 9000}])
def test_a_memory_changes_nothing(change: dict[str, object]):
    memory = Memory()
    plan(world(endpoint(backend(2))), (), (), facts(), memory)
    other = world(endpoint(backend(2)), endpoint(backend(4), name="db", vip="10.1.0.10"))
    seen = dataclasses.replace(facts(), **change)
    assert plan(other, ips("10.1.16.4"), ("t2",), seen, memory) == plan(other, ips("10.1.16.4"), ("t2",), seen)
