"""Encrypted networks on a host: links, routes, rules; what is there while keys change, and while there are none."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from common.model.container import DriverConfig
from common.model.network import Network
from common.model.node import TunnelKey
from common.wire.messages import Peer
from tests.unit.worker.net.worlds import POOLS6, RED, facts, network, world
from worker.net.plan.host_plan import HostPlan, plan
from worker.net.plan.kernel import Route
from worker.net.plan.ruleset import difference
from worker.net.plan.topology import DEFAULT_MTU

BRIDGE = f"oc-{RED[:12]}"
PRIVATE = b"\1" * 32


def key(generation: int, node: int = 1) -> TunnelKey:
    return TunnelKey(generation=generation, private=PRIVATE, public=public(generation, node))


def public(generation: int, node: int) -> bytes:
    return bytes((generation, node)) * 16


def secret() -> Network:
    return network(RED, "10.2.0.0/16", driver=DriverConfig(name="overlay", options={"encrypted": ""}))


def peers(*generations: int) -> dict[str, Peer]:
    return {
        f"node{i}": Peer(
            node_id=f"node{i}", number=i, addr=f"192.168.7.{i}", keys={each: public(each, i) for each in generations}
        )
        for i in (2, 3)
    }


def planned(*own: int, theirs: tuple[int, ...] = (), **more: Any) -> HostPlan:
    given = {"tunnel_keys": tuple(map(key, own)), "peers": peers(*(theirs or own)), **more.pop("world", {})}
    return plan(world(networks=(network(), secret()), **given), (), (), facts(**more))


def ways(found: HostPlan) -> dict[str, str]:
    """Return the link to each peer's part of the encrypted network."""
    return {
        item.destination: item.link
        for item in found.items
        if isinstance(item, Route) and item.destination.startswith("10.2.") and item.gateway
    }


def test_a_link_knows_each_peers_key_address_and_part():
    found = planned(4).wireguard
    assert found is not None
    (link,) = found.values()
    assert (link.name, link.port, link.mtu) == ("orc-wg0", 51877, DEFAULT_MTU - 80)
    assert [(peer.public, peer.endpoint, peer.ranges) for peer in link.peers] == [
        (public(4, 2), (IPv4Address("192.168.7.2"), 51877), ("10.2.17.0/24",)),
        (public(4, 3), (IPv4Address("192.168.7.3"), 51877), ("10.2.18.0/24",)),
    ]
    assert "Endpoint = 192.168.7.2:51877\nAllowedIPs = 10.2.17.0/24\nPersistentKeepalive" in link.config()
    assert repr(PRIVATE) not in repr(found)


def test_encrypted_networks_go_over_it_and_others_do_not():
    found = planned(4)
    assert ways(found) == {"10.2.17.0/24": "orc-wg0", "10.2.18.0/24": "orc-wg0"}
    plain = {item.link for item in found.items if isinstance(item, Route) and item.destination == "10.1.17.0/24"}
    assert plain == {"orc-vx"}
    mtus = {network.network_id[:3]: network.mtu for network in found.networks.values()}
    assert (mtus["red"], mtus["blu"], mtus[""]) == (DEFAULT_MTU - 80, DEFAULT_MTU - 50, DEFAULT_MTU - 50)


def test_without_keys_of_one_generation_there_is_no_way():
    assert ways(planned()) == {}
    assert ways(planned(4, theirs=(3,))) == {}


def test_no_rule_lets_an_encrypted_network_go_plain():
    found = planned().ruleset
    assert found is not None
    assert list(found.lookups["netpair"].elements) == ['"oc-blue00000000" . 10.1.0.0/16']
    assert list(found.lookups["secretpair"].elements) == [f'"{BRIDGE}" . 10.2.0.0/16']
    assert list(found.lookups["secretways"].elements) == ['"lo"', f'"{BRIDGE}"', '"orc-wg0"', '"orc-wg1"']
    assert found.chains["h_last"].rules[0] == "ip daddr @secret oifname != @secretways drop"
    assert "ip saddr @secret iifname != @secretways drop" in found.chains["h_raw"].rules
    forward = list(found.chains["h_fwd"].rules)
    closed = forward.index('oifname { "orc-wg0", "orc-wg1" } drop')
    assert closed < forward.index('iifname "oc-gw" oifname != "orc-vx" accept')


def test_a_new_generation_is_used_with_peers_that_answered_on_it():
    assert set(ways(planned(4, 5)).values()) == {"orc-wg0"}
    some = planned(4, 5, answered=frozenset({public(5, 3), public(4, 3), public(4, 2)}))
    assert ways(some) == {"10.2.17.0/24": "orc-wg0", "10.2.18.0/24": "orc-wg1"}
    assert some.wireguard is not None
    assert [link.port for link in some.wireguard.values()] == [51877, 51878]


def test_the_old_generation_goes_when_the_manager_says_so():
    found = planned(5, theirs=(4, 5))
    assert set(ways(found).values()) == {"orc-wg1"}
    assert found.wireguard is not None
    assert list(found.wireguard) == ["orc-wg1"]


def test_after_a_restart_links_stay_until_the_manager_sends_keys():
    unknown = {"tunnel_keys": None}
    found = planned(theirs=(4, 5), world=unknown, wireguard_links=frozenset({"orc-wg1"}))
    assert found.wireguard is None
    assert set(ways(found).values()) == {"orc-wg1"}
    assert ways(planned(theirs=(4, 5), world=unknown)) == {}


def test_without_encrypted_networks_there_are_no_links_or_rules():
    found = plan(world(tunnel_keys=(key(4),), peers=peers(4), address_pools=POOLS6), (), (), facts(ipv6=True))
    assert found.wireguard == {}
    assert {table.family for table in found.rulesets} >= {"ip", "ip6"}
    for table in found.rulesets:
        rules = [rule for chain in table.chains.values() for rule in chain.rules if chain.hook]
        assert not any("@secret " in rule for rule in rules)


def test_the_first_encrypted_network_brings_its_rules():
    plain = plan(world(), (), (), facts()).ruleset
    secret = planned().ruleset
    assert plain is not None
    assert secret is not None
    text = difference(plain, secret)
    assert "add rule ip orc h_last ip daddr @secret oifname != @secretways drop" in text
    assert "add rule ip orc h_raw ip saddr @secret iifname != @secretways drop" in text


def test_a_host_that_cannot_encrypt_says_so():
    problems = planned(4, encrypts=False).topology.problems
    assert "has no WireGuard: install Debian's wireguard-tools" in problems[RED]


def test_ipv6_goes_the_same_way():
    options = DriverConfig(name="overlay", options={"encrypted": ""})
    both = network(RED, "10.2.0.0/16", subnet6="fd00:2::/64", driver=options)
    given = {"networks": (network(), both), "address_pools": POOLS6, "tunnel_keys": (key(4),), "peers": peers(4)}
    found = plan(world(**given), (), (), facts(ipv6=True))
    assert found.wireguard is not None
    assert found.wireguard["orc-wg0"].peers[0].ranges == ("10.2.17.0/24", "fd00:2::a02:1100/120")
    routes = {item.destination: item.link for item in found.items if isinstance(item, Route)}
    assert routes["fd00:2::a02:1100/120"] == "orc-wg0"
    (table,) = [each for each in found.rulesets if each.family == "ip6"]
    assert list(table.lookups["secretpair"].elements) == [f'"{BRIDGE}" . fd00:2::/64']
    assert not table.lookups["netpair"].elements
    assert table.chains["h_last"].rules[0] == "ip6 daddr @secret oifname != @secretways drop"
    assert "ip6 saddr @secret iifname != @secretways drop" in table.chains["h_raw"].rules
    bare = plan(world(**{**given, "tunnel_keys": ()}), (), (), facts(ipv6=True)).items
    assert not any(isinstance(item, Route) and item.destination.startswith("fd00:2::a02:11") for item in bare)
