"""Which addresses a host may say are its own."""

from __future__ import annotations

import re

import pytest

from common.model.node import ManagerStatus, NodeDescription, NodeStatus
from common.wire.messages import PROTOCOL_VERSION, Hello, NodeReport
from tests.fakes.validation import OTHER, node, validated

ADDRESS, IPV6 = "Hello.advertise_addr", "NodeDescription.ipv6_addresses"


def hello(address: str = "", *ipv6: str) -> Hello:
    description = NodeDescription(hostname="host-1", ipv6_addresses=ipv6)
    return Hello(protocol=PROTOCOL_VERSION, description=description, advertise_addr=address)


def believed(said: Hello, **heard: object) -> tuple[str, tuple[str, ...]]:
    taken, _ = validated(said, **heard)  # type: ignore[arg-type]
    assert taken is not None
    return taken.advertise_addr, taken.description.ipv6_addresses


@pytest.mark.parametrize("address", ["192.0.2.77", "10.200.0.9", "2001:db8::77", "172.16.0.1", "100.64.3.4"])
def test_a_reachable_address_is_believed_from_any_connection(address: str) -> None:
    assert believed(hello(address), source="203.0.113.5") == (address, ())


UNREACHABLE = [
    ("127.0.0.1", "a loopback address"),
    ("127.9.9.9", "a loopback address"),
    ("::1", "a loopback address"),
    ("::ffff:127.0.0.1", "a loopback address"),
    ("0.0.0.0", "no host's address"),
    ("0.1.2.3", "no host's address"),
    ("::", "no host's address"),
    ("224.0.0.1", "the address of a group"),
    ("255.255.255.255", "the address of a group"),
    ("ff02::1", "the address of a group"),
    ("169.254.169.254", "a link-local address"),
    ("fe80::1", "a link-local address"),
    ("fe80::1%eth0", "names a link of its host"),
    ("not-an-ip", "'not-an-ip' is not an IP address"),
    ("192.0.2.1/24", "is not an IP address"),
    ("192.0.2.077", "is not an IP address"),
    ("192.0.2.7\n}; flush ruleset", "is not an IP address"),
]
OTHERS = [
    ("192.0.2.2", f"an address of node host-2: .* 'swarm-manager node rm {OTHER}'"),
    ("2001:db8::2", "an address of node host-2"),
    ("2001:0db8:0::2", "an address of node host-2"),
    ("::ffff:192.0.2.2", "an address of node host-2"),
    ("10.1.17.9", r"is in 10\.1\.0\.0/16, which the cluster gives to containers"),
    ("10.240.2.9", r"is in 10\.240\.0\.0/12, which the cluster gives to containers"),
    ("10.239.240.2", "which the cluster gives to containers"),
    ("fd00:1::a01:1109", "is in fd00:1::/64, which the cluster gives to containers"),
]


@pytest.mark.parametrize(("address", "words"), UNREACHABLE + OTHERS)
def test_no_other_is(address: str, words: str) -> None:
    taken, refused = validated(hello(address))
    assert taken is not None
    assert taken.advertise_addr == ""
    assert re.search(words, refused.pop(ADDRESS))
    assert not refused


@pytest.mark.parametrize("address", [*(address for address, _ in UNREACHABLE + OTHERS), "192.0.2.77"])
def test_invalid_ipv6_addresses_are_left_out(address: str) -> None:
    taken, refused = validated(NodeReport(description=hello("", "2001:db8::99", address).description))
    assert taken is not None
    assert taken.description.ipv6_addresses == ("2001:db8::99",)
    assert list(refused) == [IPV6]


def test_addresses_are_kept_as_addresses_are_written() -> None:
    assert believed(hello("2001:DB8:0:0::77", "2001:0db8::0099")) == ("2001:db8::77", ("2001:db8::99",))


def test_two_engines_of_one_host_are_two_nodes_of_one_address() -> None:
    """The connection of the second comes from there: it is not only its word."""
    assert believed(hello("192.0.2.2"), source="192.0.2.2") == ("192.0.2.2", ())


def test_what_a_node_has_already_it_keeps() -> None:
    assert believed(hello("192.0.2.1", "2001:db8::1")) == ("192.0.2.1", ("2001:db8::1",))


def test_an_address_is_free_when_its_node_left_but_not_when_down() -> None:
    down = node(OTHER, 2, status=NodeStatus(state="down", addr="192.0.2.2"))
    for gone, expected in ((down, ("", ())), (node(OTHER, 2, certificate_serials=()), ("192.0.2.2", ("2001:db8::2",)))):
        taken, _ = validated(hello("192.0.2.2", "2001:db8::2"), gone)
        assert taken is not None
        assert (taken.advertise_addr, taken.description.ipv6_addresses) == expected


def test_a_managers_address_stays_its_own_after_its_worker_left() -> None:
    manager = node(OTHER, 2, certificate_serials=(), manager_status=ManagerStatus(leader=True))
    taken, refused = validated(hello("192.0.2.2"), manager)
    assert taken is not None
    assert taken.advertise_addr == ""
    assert ADDRESS in refused


def test_loopback_is_believed_where_the_manager_is_there_itself() -> None:
    assert believed(hello("127.0.0.1"), loopback=True) == ("127.0.0.1", ())
    assert believed(hello("0.0.0.0"), loopback=True) == ("", ())


def test_there_may_be_only_so_many() -> None:
    many = [f"2001:db8:1::{number:x}" for number in range(1, 400)]
    taken, refused = validated(hello("", *many))
    assert taken is not None
    assert taken.description.ipv6_addresses == tuple(many[:256])
    assert refused == {IPV6: "it has 399 entries: the first 256 are used"}
