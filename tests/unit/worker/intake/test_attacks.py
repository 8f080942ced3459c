"""What a worker with a valid certificate was seen to do to all others, as it reaches those: it costs itself alone."""

import random
import socket

import msgspec
import pytest

from common.wire.messages import MESH, MESH6, Backend, Peer
from tests.unit.worker.net.worlds import (
    BLUE,
    POOLS6,
    RED,
    backend,
    endpoint,
    facts,
    mesh6,
    network,
    port,
    world,
)
from worker.net.apply.netlink import Seen
from worker.net.plan import service_table
from worker.net.plan.host_plan import HostPlan, plan, purge
from worker.net.plan.ruleset import whole
from worker.net.plan.topology import topology
from worker.net.resolve import answers, messages
from worker.net.resolve.answers import Forward
from worker.net.resolve.zones import LocalContainer, zones_of
from worker.net.watch import facts as host_facts

INJECTION = "::1 . fd00::/64 }\nadd table ip evil\nadd element ip6 orc nodeloop { ::2"
NETWORKS = (network(subnet6="fd00:1::/64"), network(RED, "10.2.0.0/16"))


@pytest.fixture(autouse=True)
def _no_resolver(monkeypatch: pytest.MonkeyPatch):
    def ask(*_: object, **__: object) -> None:
        raise AssertionError("somebody was asked for a name")

    monkeypatch.setattr(socket, "getaddrinfo", ask)


def peer(number: int, **more: object) -> Peer:
    return msgspec.structs.replace(Peer(node_id=f"node{number}", number=number, addr=f"192.168.7.{number}"), **more)


def planned(*endpoints, evil: Peer | None = None) -> HostPlan:
    peers = {f"node{n}": peer(n) for n in (2, 3)} | ({evil.node_id: evil} if evil is not None else {})
    there = world(*endpoints, peers=peers, networks=NETWORKS, address_pools=POOLS6)
    return plan(there, (), (), facts(ipv6=True))


def written(found: HostPlan) -> list[object]:
    """Return all that a host is told by a plan."""
    tables = [whole(each) for each in (*found.rulesets, *([found.way_back] if found.way_back is not None else ()))]
    services = [service_table.whole(each) for each in found.services]
    return [*tables, *services, found.items, found.tunnel, found.sysctls, found.wireguard, found.networks, found.ports]


# --- 1: addresses of the host ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [INJECTION, "not-an-ip", "fe80::1%x }\nadd table ip evil", "10.0.0.1", "::1", ""])
def test_a_nodes_addresses_are_never_text_of_a_rule(text: str):
    evil = planned(evil=peer(3, ipv6_addresses=(text, "2001:db8::3")))
    assert written(evil) == written(planned(evil=peer(3, ipv6_addresses=("2001:db8::3",))))


def test_a_node_has_a_few_addresses_and_not_all_of_a_network():
    many = tuple(f"2001:db8::{n:x}" for n in range(1, 10_000))
    found = planned(evil=peer(3, ipv6_addresses=many))
    (table,) = [each for each in found.rulesets if each.family == "ip6"]
    assert 0 < len(table.lookups["nodeloop"].elements) < 100


# --- 2: the address that tunnels end at -------------------------------------------------------------------------------


@pytest.mark.parametrize("addr", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "not-an-ip", "", "1", "192.168.7.2 ", "::1"])
def test_a_peer_that_is_nowhere_is_left_out_and_all_others_stay(addr: str):
    assert written(planned(evil=peer(4, addr=addr))) == written(planned())


@pytest.mark.parametrize("addr", ["192.168.7.1", "10.240.1.5", "10.239.240.1", "10.1.16.2", "10.2.200.1"])
def test_a_peer_at_a_local_address_is_left_out_and_named(addr: str):
    found = planned(evil=peer(4, addr=addr))
    assert written(found) == written(planned())
    assert "node4" in found.topology.problems["node4"]


def test_nobody_is_asked_where_a_peer_is():
    """The host's own address is that of its way to a peer: the first that has one."""
    there = world(peers={"node2": peer(2, addr="not-an-ip"), "node3": peer(3, addr="127.0.0.1"), "node4": peer(4)})
    assert list(there.peers) == ["node4"]
    assert host_facts.facts("node1", Seen(), there.peers.values(), "").address == ""


def test_two_nodes_of_one_number_are_not_one():
    found = planned(evil=peer(3, node_id="node9", addr="192.168.7.9"))
    assert written(found) == written(planned())


# --- 3: addresses of a task that are none -----------------------------------------------------------------------------

GARBAGE = ["not-an-ip", "", "10.1.17.300", "10.1.17.9\nadd table ip evil", "10.1.17.9/32", "0", "fd00:1::1", "1" * 5000]


@pytest.mark.parametrize("text", GARBAGE)
@pytest.mark.parametrize("where", [BLUE, MESH, MESH6])
def test_garbage_of_one_task_costs_that_task_alone(text: str, where: str):
    good = [backend(2), backend(3, 2, ipv6=True)]
    evil = backend(9, 3, ipv6=True)
    without = {key: value for key, value in evil.addresses.items() if key != where}
    rest = endpoint(*good, msgspec.structs.replace(evil, addresses=without), ports=(port(),))
    web = endpoint(*good, msgspec.structs.replace(evil, addresses={**evil.addresses, where: text}), ports=(port(),))
    assert written(planned(web)) == written(planned(rest))


@pytest.mark.parametrize("bad", [port(0), port(70_000), port(8080, 0), port(8080, 1 << 40), port(host_ip="localhost")])
def test_a_port_that_is_none_costs_that_port_alone(bad):
    assert written(planned(endpoint(backend(2), ports=(port(), bad)))) == written(
        planned(endpoint(backend(2), ports=(port(),)))
    )


# --- 4: addresses of a task that are not its own ----------------------------------------------------------------------

OTHERS = {
    MESH: ["10.240.2.2", "10.240.1.1", "10.240.3.1", "10.240.3.0", "192.168.7.1", "8.8.8.8"],
    MESH6: [mesh6(2, 2), "fd00:20:0:ffff:ffff:ffff:af0:301", "2001:db8::1"],
    BLUE: ["10.1.16.2", "10.1.0.9", "10.1.18.1", "10.2.18.2", "8.8.8.8"],
}


@pytest.mark.parametrize(("where", "address"), [(where, each) for where, found in OTHERS.items() for each in found])
def test_a_task_is_only_where_its_node_has_tasks(where: str, address: str):
    good, evil = backend(2), backend(9, 3, ipv6=True)
    without = {key: value for key, value in evil.addresses.items() if key != where}
    rest = endpoint(good, msgspec.structs.replace(evil, addresses=without), ports=(port(),))
    web = endpoint(good, msgspec.structs.replace(evil, addresses={**evil.addresses, where: address}), ports=(port(),))
    assert written(planned(web)) == written(planned(rest))


def test_a_name_in_a_network_without_a_part_here_leads_nowhere():
    evil = Backend(
        task_id="t9", slot=1, node_id="node9", addresses={BLUE: "10.1.19.9"}, hostname="registry.example.com"
    )
    there = world(endpoint(evil, name="other", vip=""))
    zones = zones_of(there, topology(there, facts()), [LocalContainer(task_id="t1", addresses={BLUE: "10.1.16.2"})])
    query = messages.Query(7, 0, "registry.example.com", messages.A, messages.encode_name("x") + b"\0\1\0\1")
    answer = answers.reply(query, zones, "10.1.16.2", 512, random.Random(1))
    assert isinstance(answer, Forward)


def test_a_false_claim_of_being_elsewhere_cuts_no_connections():
    evil = Backend(task_id="t9", slot=1, node_id="node3", addresses={BLUE: "203.0.113.9", "elsewhere": "203.0.113.7"})
    assert purge(planned(endpoint(backend(2), evil)), planned(endpoint(backend(2)))).backends == ()
