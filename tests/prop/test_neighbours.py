"""Questions for addresses that are elsewhere: the bridges' rule makes right answers of them, whoever asks for whatever.

`Bridge` does what nft does with the rule's statements, the checksum included: what is written to a field that nft has a
name for is counted in it (here: IPv6 addresses), what is written by place is not.
"""

import re
from ipaddress import IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.net.worlds import POOLS6, facts, network, world
from worker.net.plan.host_plan import plan

STATEMENT = re.compile(
    r"(?:(ether|ip6) ([sd])addr|@(nh|th),(\d+),(\d+)) set (?:(ether|ip6) ([sd])addr|@(th),(\d+),(\d+)|(\S+))"
)
ETHERNET, IP6, ICMP = 14, 40, 54
PLACES = {("ether", "d"): (0, 6), ("ether", "s"): (6, 6), ("ip6", "s"): (22, 16), ("ip6", "d"): (38, 16)}
MAC = bytes.fromhex("026f63010001")
PREFIX = IPv6Network("fd00:1::/64")
macs = st.binary(min_size=6, max_size=6)
askers = st.integers(0, (1 << 64) - 1).map(lambda number: PREFIX[number].packed)
targets = st.integers(0x0A010000, 0x0A01FFFF).map(lambda number: PREFIX[number].packed)


def checksum(packet: bytes) -> int:
    """Return the sum of an ICMPv6 packet with its pseudo header; 0xffff where its checksum is right."""
    body = packet[ICMP:]
    data = packet[22:54] + len(body).to_bytes(4) + b"\0\0\0\x3a" + body
    total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Bridge:
    def __init__(self, rule: str) -> None:
        self.statements = STATEMENT.findall(rule)

    def turn(self, question: bytes) -> bytes:
        packet = bytearray(question)
        for family, end, base, at, length, from_family, from_end, _, from_at, from_length, constant in self.statements:
            place, size = PLACES[family, end] if family else _raw(base, at, length)
            if from_family:
                start, count = PLACES[from_family, from_end]
            elif from_at:
                start, count = _raw("th", from_at, from_length)
            else:
                start, count = 0, 0
            value = bytes(packet[start : start + count]) if count else _constant(constant, size)
            assert len(value) == size
            if family == "ip6":
                _count(packet, bytes(packet[place : place + size]), value)
            packet[place : place + size] = value
        return bytes(packet)


def _raw(base: str, at: str, length: str) -> tuple[int, int]:
    return (ETHERNET if base == "nh" else ICMP) + int(at) // 8, int(length) // 8


def _constant(text: str, size: int) -> bytes:
    return IPv6Address(text).packed if ":" in text else int(text, 0).to_bytes(size)


def _count(packet: bytearray, old: bytes, new: bytes) -> None:
    """Bring the checksum up to date, as RFC 1624 says."""
    total = ~int.from_bytes(packet[ICMP + 2 : ICMP + 4]) & 0xFFFF
    for at in range(0, len(old), 2):
        total += (~int.from_bytes(old[at : at + 2]) & 0xFFFF) + int.from_bytes(new[at : at + 2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[ICMP + 2 : ICMP + 4] = (~total & 0xFFFF).to_bytes(2)


def question(asker_mac: bytes, asker: bytes, target: bytes) -> bytes:
    """Return a neighbour solicitation, as Linux sends it."""
    group = b"\xff\x02" + bytes(9) + b"\x01\xff" + target[-3:]
    header = b"\x60\0\0\0" + (32).to_bytes(2) + b"\x3a\xff"
    body = b"\x87\0\0\0\0\0\0\0" + target + b"\x01\x01" + asker_mac
    packet = bytearray(b"\x33\x33\xff" + target[-3:] + asker_mac + b"\x86\xdd" + header + asker + group + body)
    packet[ICMP + 2 : ICMP + 4] = (~checksum(packet) & 0xFFFF).to_bytes(2)
    assert checksum(packet) == 0xFFFF
    return bytes(packet)


def rule_of_a_host() -> str:
    found = plan(world(address_pools=POOLS6, networks=(network(subnet6=str(PREFIX)),)), (), (), facts(ipv6=True))
    (table,) = [each for each in found.rulesets if each.family == "bridge"]
    (rule,) = table.chains["h_nd"].rules
    return rule


@given(macs, askers, targets)
def test_a_question_becomes_its_own_answer(asker_mac: bytes, asker: bytes, target: bytes):
    answer = Bridge(rule_of_a_host()).turn(question(asker_mac, asker, target))
    assert answer[:12] == asker_mac * 2
    assert answer[38:54] == asker
    assert answer[ICMP : ICMP + 2] == b"\x88\0"
    assert answer[ICMP + 4 :] == b"\xe0\0\0\0" + target + b"\x02\x01" + MAC
    assert checksum(answer) in (0, 0xFFFF)


@given(targets)
def test_exactly_what_this_host_has_not_is_answered(target: bytes):
    found = plan(world(address_pools=POOLS6, networks=(network(subnet6=str(PREFIX)),)), (), (), facts(ipv6=True))
    (table,) = [each for each in found.rulesets if each.family == "bridge"]
    spans = [[int(end, 16) for end in each.split("-")] for each in table.lookups["elsewhere"].elements]
    here = IPv6Address(target) in IPv6Network("fd00:1::a01:1000/120")
    assert [first <= int.from_bytes(target) <= last for first, last in spans].count(True) == (0 if here else 1)
