"""Names in dual-stack networks: AAAA beside A, and reverse names of both."""

import random
from dataclasses import replace

import dns.message
import dns.rdatatype
import dns.reversename
import pytest

from common.wire.messages import ServiceEndpoint
from tests.unit.worker.net.worlds import BLUE, POOLS6, RED, backend, endpoint, facts, ips, mesh6, network, world
from worker.net.plan.topology import topology
from worker.net.resolve import answers, messages
from worker.net.resolve.answers import Forward
from worker.net.resolve.zones import LocalContainer, Zones, zones_of

ASKER = "10.1.16.2"
WEB = endpoint(backend(2, ipv6=True), backend(3, 2), aliases={BLUE: ("shop",)})
ROUND_ROBIN = endpoint(backend(4), name="rr", vip="")
DB = ServiceEndpoint(service_id="iddb", name="db", vips={RED: "10.2.0.7"})


def zones(subnet6: str = "fd00:1::/64") -> Zones:
    there = (network(subnet6=subnet6), network(RED, "10.2.0.0/16"))
    here = world(WEB, ROUND_ROBIN, DB, networks=there, address_pools=POOLS6)
    addresses = dict(zip((BLUE, RED), ips(ASKER, "10.2.16.2"), strict=True))
    container = LocalContainer(task_id="t2", addresses=addresses, service_id="idweb")
    return zones_of(here, topology(here, facts(ipv6=True)), [container])


def ask(name: str, kind: str, known: Zones | None = None, limit: int = 65535) -> dns.message.Message | Forward:
    packet = dns.message.make_query(name, kind).to_wire()
    query = messages.parse(packet)
    assert query is not None
    answer = answers.reply(query, known or zones(), ASKER, limit, random.Random(1))
    return answer if isinstance(answer, Forward) else dns.message.from_wire(answer)


def records(answer: dns.message.Message | Forward) -> list[str]:
    assert isinstance(answer, dns.message.Message)
    return sorted(str(record) for section in answer.answer for record in section)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("web", ["fd00:1::a01:9"]),
        ("shop.blue", ["fd00:1::a01:9"]),
        ("tasks.web", ["fd00:1::a01:1002", "fd00:1::a01:1103"]),
        ("2.web", ["fd00:1::a01:1002"]),
        ("web.3.t3", ["fd00:1::a01:1103"]),
        ("rr", ["fd00:1::a01:1004"]),
        ("db", []),
    ],
)
def test_a_name_means_addresses_of_both_families(name: str, found: list[str]):
    assert records(ask(name, "AAAA")) == found
    assert all("." in address for address in records(ask(name, "A")))
    everything = records(ask(name, "ANY"))
    assert [address for address in everything if ":" in address] == found
    assert len(everything) > len(found)


def test_a_name_in_a_network_without_ipv6_is_an_empty_answer():
    answer = ask("web", "AAAA", zones(subnet6=""))
    assert records(answer) == []
    assert isinstance(answer, dns.message.Message)
    assert answer.rcode() == dns.rcode.NOERROR


def test_what_does_not_fit_is_cut_and_marked():
    size = 12 + 11 + 5 + 28  # a header, the question and one of two addresses
    answer = ask("tasks.web", "AAAA", limit=size)
    assert isinstance(answer, dns.message.Message)
    assert len(records(answer)) == 1
    assert answer.flags & dns.flags.TC


@pytest.mark.parametrize(
    ("address", "name"), [("fd00:1::a01:9", "web."), ("fd00:1::a01:1103", "3.web."), ("10.1.17.3", "3.web.")]
)
def test_addresses_have_names(address: str, name: str):
    assert records(ask(str(dns.reversename.from_address(address)), "PTR")) == [name]


def test_our_unnamed_addresses_have_no_name_and_others_are_asked():
    ours = ask(str(dns.reversename.from_address(mesh6(1, 77))), "PTR")
    assert isinstance(ours, dns.message.Message)
    assert ours.rcode() == dns.rcode.NXDOMAIN
    for name in (str(dns.reversename.from_address("2001:db8::1")), "8.b.d.ip6.arpa", "xy.ip6.arpa"):
        assert ask(name, "PTR") == Forward()


def test_a_network_that_becomes_another_has_its_own_addresses():
    """Records are remembered by service, and must not outlive the network's subnet."""
    memory: dict = {}
    networks = (network(), network(subnet6="fd00:1::/64"))
    before, after = (world(WEB, networks=(each,), address_pools=POOLS6) for each in networks)
    container = LocalContainer(task_id="t2", addresses={BLUE: ASKER}, service_id="idweb")
    first = zones_of(before, topology(before, facts(ipv6=True)), [container], (), memory)
    second = zones_of(after, topology(after, facts(ipv6=True)), [container], (), memory, replace(first))
    assert records(ask("web", "AAAA", second)) == ["fd00:1::a01:9"]
