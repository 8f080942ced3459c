"""The host's own word: its address, its link's MTU, what it reaches without us."""

from ipaddress import IPv4Network

from common.wire.messages import Peer
from worker.net.facts import facts
from worker.net.netlink import Seen

LOOPBACK_PEER = Peer(node_id="n2", number=2, addr="127.0.0.9")


def test_the_operators_address_counts_if_the_host_has_it():
    seen = Seen(addresses={"192.168.7.1": 9000})
    found = facts("n1", seen, [LOOPBACK_PEER], "192.168.7.1")
    assert (found.address, found.mtu) == ("192.168.7.1", 9000)
    assert facts("n1", Seen(), [LOOPBACK_PEER], "192.168.7.1").address == ""


def test_without_one_the_address_is_that_of_the_way_to_a_peer():
    found = facts("n1", Seen(addresses={"127.0.0.1": 65536}), [LOOPBACK_PEER], "")
    assert (found.address, found.mtu) == ("127.0.0.1", 65536)


def test_without_peers_there_is_no_address_yet():
    assert facts("n1", Seen(addresses={"127.0.0.1": 65536}), [], "").address == ""


def test_our_own_links_reach_nothing_that_could_clash():
    ranges = tuple(
        (IPv4Network(f"10.{i}.0.0/16"), link) for i, link in enumerate(["eth0", "oc-blue", "orc-vx", "docker0"])
    )
    found = facts("n1", Seen(ranges=ranges), [], "")
    assert found.ranges == (IPv4Network("10.0.0.0/16"), IPv4Network("10.3.0.0/16"))
