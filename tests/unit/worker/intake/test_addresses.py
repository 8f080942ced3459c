"""Addresses, ranges and ports are read in exactly one form, and nothing is ever looked up."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from worker.intake.addresses import (
    Port,
    Protocol,
    address,
    address4,
    address6,
    host4,
    host6,
    port,
    range4,
    range6,
    text_of,
)
from worker.intake.identifiers import Unusable

NEITHER = [
    "",
    "localhost",
    "not-an-ip",
    "1",
    "1.2.3",
    "01.2.3.4",
    "0x7f.0.0.1",
    "1.2.3.4 ",
    "1.2.3.4\0",
    "::1 }",
    "1.2.3.4/8",
]


@pytest.fixture(autouse=True)
def _no_resolver(monkeypatch: pytest.MonkeyPatch):
    def ask(*_: object, **__: object) -> None:
        raise AssertionError("somebody was asked for a name")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        monkeypatch.setattr(socket, name, ask)


@pytest.mark.parametrize("text", NEITHER)
@pytest.mark.parametrize("read", [address4, address6, address])
def test_what_is_no_address_is_refused(read, text: str):
    with pytest.raises(Unusable, match="is not an IPv"):
        read(text)


@pytest.mark.parametrize("text", ["fe80::1%eth0", "fe80::1%x } ; flush ruleset", "fd00::%25/64"])
def test_an_address_with_a_zone_is_refused(text: str):
    with pytest.raises(Unusable):
        address6(text)
    with pytest.raises(Unusable):
        range6(f"{text}/64")


def test_addresses_are_written_as_the_kernel_writes_them():
    assert text_of(address("FD00:0::1")) == "fd00::1"
    assert text_of(address("10.1.2.3").packed) == "10.1.2.3"
    assert text_of(address("fd00::7").packed) == "fd00::7"
    assert text_of(range4("10.1.0.0/16")) == "10.1.0.0/16"


def test_a_zone_that_came_another_way_is_not_written():
    with pytest.raises(Unusable):
        text_of(IPv6Address("fe80::1%x } ; flush ruleset"))
    with pytest.raises(Unusable):
        text_of(IPv6Network("fd00::%x;y/64"))


@pytest.mark.parametrize("text", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "0.1.2.3"])
def test_what_is_no_other_hosts_address(text: str):
    with pytest.raises(Unusable, match="not the address of another host"):
        host4(text)
    assert host4("192.168.7.2") == IPv4Address("192.168.7.2")


@pytest.mark.parametrize("text", ["::1", "::", "ff02::1", "fe80::1", "::ffff:10.0.0.1"])
def test_nor_in_ipv6(text: str):
    with pytest.raises(Unusable, match="not the address of another host"):
        host6(text)
    assert host6("2001:db8::2") == IPv6Address("2001:db8::2")


@pytest.mark.parametrize(
    "text", ["10.1.0.0", "10.1.0.0/33", "10.1.0.1/16", "10.1.0.0/16/8", "10.1.0.0/²", "10.1.0.0/-1", "x/8"]
)
def test_what_is_no_range(text: str):
    with pytest.raises(Unusable):
        range4(text)
    assert range4("10.1.0.0/16") == IPv4Network("10.1.0.0/16")


@pytest.mark.parametrize(
    ("protocol", "number", "at"), [("tcp", 0, ""), ("tcp", 65536, ""), ("icmp", 80, ""), ("tcp", 80, "localhost")]
)
def test_what_is_no_port(protocol: str, number: int, at: str):
    with pytest.raises(Unusable):
        port(protocol, number, at)


def test_a_port_of_all_addresses_has_none():
    assert port("tcp", 80, "0.0.0.0") == port("tcp", 80, "::") == Port(Protocol.TCP, 80)
    assert [str(port("udp", 53, at)) for at in ("", "10.0.0.1", "::1")] == ["53/udp", "10.0.0.1:53/udp", "[::1]:53/udp"]
