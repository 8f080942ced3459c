"""The host's own word: its address, its link's MTU, what it reaches without us."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from common.wire.messages import Peer
from worker.net.apply.netlink import Seen
from worker.net.watch.facts import facts, ipv6_addresses, ipv6_refusal

LOOPBACK_PEER = Peer(node_id="n2", number=2, addr="127.0.0.9")


def test_the_operators_address_counts_if_the_host_has_it():
    seen = Seen(addresses={"192.168.7.1": 9000})
    found = facts("n1", seen, [LOOPBACK_PEER], "192.168.7.1")
    assert (found.address, found.mtu) == ("192.168.7.1", 9000)
    assert facts("n1", Seen(), [LOOPBACK_PEER], "192.168.7.1").address == ""


def test_without_one_the_address_is_that_of_the_way_to_a_peer():
    found = facts("n1", Seen(addresses={"127.0.0.1": 65536}), [LOOPBACK_PEER], "")
    assert (found.address, found.mtu) == ("127.0.0.1", 65536)


@pytest.mark.parametrize(
    ("ways", "before", "address"),
    [
        (["a", "b", "b"], "", "b"),
        (["", "b"], "", "b"),
        (["a", "b", "b"], "a", "a"),
        (["b", "b"], "a", "b"),
        (["", ""], "a", ""),
    ],
)
def test_one_peer_alone_does_not_say_which_address_is_this_hosts(
    monkeypatch: pytest.MonkeyPatch, ways: list[str], before: str, address: str
):
    """A peer may say that it is anywhere, and be reached from an address that no other peer takes anything from."""
    towards = dict(zip(range(1, 9), ways, strict=False))
    monkeypatch.setattr("worker.net.watch.facts._source_towards", lambda peer: towards[peer.number])
    peers = [Peer(node_id=f"n{number}", number=number, addr="192.0.2.1") for number in towards]
    assert facts("n1", Seen(addresses={"a": 1500, "b": 1500}), peers, "", before).address == address


def test_a_small_link_leaves_containers_without_ipv6():
    assert not facts("n1", Seen(addresses={"192.168.7.1": 1280}), [], "192.168.7.1").ipv6


def test_without_peers_there_is_no_address_yet():
    assert facts("n1", Seen(addresses={"127.0.0.1": 65536}), [], "").address == ""


def test_our_own_links_reach_nothing_that_could_clash():
    ranges = tuple(
        (IPv4Network(f"10.{i}.0.0/16"), link) for i, link in enumerate(["eth0", "oc-blue", "orc-vx", "docker0"])
    )
    found = facts("n1", Seen(ranges=ranges), [], "")
    assert found.ranges == (IPv4Network("10.0.0.0/16"), IPv4Network("10.3.0.0/16"))


def test_ranges_of_both_families_are_told_apart():
    ranges = (
        (IPv6Network("2001:db8::/64"), "eth0"),
        (IPv6Network("fe80::/64"), "eth0"),
        (IPv4Network("10.0.0.0/16"), "eth0"),
    )
    found = facts("n1", Seen(ranges=ranges, advertised=frozenset({"eth0"})), [], "")
    assert found.ranges6 == (IPv6Network("2001:db8::/64"),)
    assert found.ranges == (IPv4Network("10.0.0.0/16"),)
    assert found.advertised_links == {"eth0"}


def test_ipv6_may_be_off_or_missing_or_too_large_for_the_link(tmp_path: Path):
    assert "kernel has no IPv6" in ipv6_refusal(proc=tmp_path)
    setting = tmp_path / "net/ipv6/conf/all/disable_ipv6"
    setting.parent.mkdir(parents=True)
    setting.write_text("1\n")
    assert "switches it off" in ipv6_refusal(proc=tmp_path)
    setting.write_text("0\n")
    assert ipv6_refusal(1330, tmp_path) == ""
    assert "an MTU of 1329 bytes" in ipv6_refusal(1329, tmp_path)
    assert "needs 1330" in ipv6_refusal(1329, tmp_path)


def test_a_hosts_own_addresses_are_those_it_sends_from(tmp_path: Path):
    listing = tmp_path / "if_inet6"
    assert ipv6_addresses(listing) == ()
    links = (("2", "00", "eth0"), ("1", "00", "eth1"), ("3", "20", "eth0"), ("4", "00", "oc-gw"), ("5", "00", "lo"))
    lines = (f"fd0000000000000000000000000000{number:0>2} 02 40 {scope} 80 {link:>8}" for number, scope, link in links)
    listing.write_text("\n".join(lines) + "\n")
    assert ipv6_addresses(listing) == ("fd00::1", "fd00::2")
