"""The kernel's nftables commands as bytes, as far as services need them. Pure.

nft takes 3 µs to read each of the backends that services have by the thousand. Their rules are all alike, so they are
laid out here; all others are left to nft (`worker.net.plan.ruleset`). Names and numbers are those of
linux/netfilter/nf_tables.h and nfnetlink.h. Numbers are big-endian, but for lengths and kinds.

Rules of services are made of expressions, bytes for `Table.add_rule`. An expression puts a value into a register, or
the rule goes on only if a register has a value. A register has 4 bytes, and is counted from 0 here; a longer value
takes those that follow too.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import add
from socket import htons
from typing import NamedTuple

NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE = 0, 2, 3, 5, 6, 8
NEWSET, NEWSETELEM, DELSETELEM = 9, 12, 14
SUBSYSTEM = 10
FAMILIES = {"ip": 2, "ip6": 10}
# The name of a map that one rule alone has: the kernel puts a number in.
ANONYMOUS_MAP = "__map%d"
GOTO, RETURN = -4, -5

_BATCH_BEGIN, _BATCH_END = 16, 17
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHIIBBH")
_ATTRIBUTE = struct.Struct("=HH")
# The length of a list of elements has 16 bits, and the longest element 72 bytes.
_ELEMENTS_A_MESSAGE = 800
_ANONYMOUS, _CONSTANT, INTERVAL, _MAP = 1, 2, 4, 8
_INTERVAL_END = 1
# nft's numbers of types, for its listings. The kernel only keeps them, and the byte orders of a map's keys and values.
INTEGER, IPV4, IPV6, PROTOCOL, SERVICE, IFNAME = 4, 7, 8, 12, 13, 41
_VERDICT = 0xFFFFFF00
_HOST_THEN_BIG = struct.pack("=BBIBBI", 0, 4, 1, 1, 4, 2)


class Message(NamedTuple):
    """One command: a kind from above, flags, the family, its attributes."""

    kind: int
    flags: int
    family: int
    body: bytes


def batch(messages: Sequence[Message]) -> bytes:
    """Lay out one transaction. Messages are numbered by their places; the kernel answers the last one, and errors."""
    last = len(messages) - 1
    parts = [_HEADER.pack(_HEADER.size, _BATCH_BEGIN, _REQUEST, 0, 0, 0, 0, htons(SUBSYSTEM))]
    for place, (kind, flags, family, body) in enumerate(messages):
        asked = _REQUEST | flags | (_ACK if place == last else 0)
        parts.append(_HEADER.pack(_HEADER.size + len(body), SUBSYSTEM << 8 | kind, asked, place, 0, family, 0, 0))
        parts.append(body)
    parts.append(_HEADER.pack(_HEADER.size, _BATCH_END, _REQUEST, last + 1, 0, 0, 0, htons(SUBSYSTEM)))
    return b"".join(parts)


def attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) & 3)


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))


@lru_cache(maxsize=4096)
def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


@lru_cache(maxsize=4096)
def number(kind: int, value: int) -> bytes:
    return attribute(kind, (value & 0xFFFFFFFF).to_bytes(4))


# --- elements of sets -------------------------------------------------------------------------------------------------


def element(key: bytes, chain: str | None = None) -> bytes:
    """Return an element of a set; with `chain`, one of a map: go there, or if that is empty, return."""
    if chain is None:
        return nested(1, _value(1, key))
    verdict = nested(2, number(1, GOTO), text(2, chain)) if chain else nested(2, number(1, RETURN))
    return nested(1, _value(1, key), nested(2, verdict))


def intervals(ranges: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the elements of ranges (first, last): where each begins, and where it has ended, if it does."""
    found: list[bytes] = []
    for first, last in ranges:
        after = int.from_bytes(last) + 1
        found.append(element(first))
        if not after >> 8 * len(last):
            found.append(nested(1, _value(1, after.to_bytes(len(last))), number(3, _INTERVAL_END)))
    return found


def _value(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))


@lru_cache(maxsize=256)
def _places(count: int, length: int) -> tuple[bytes, ...]:
    """Return all but the addresses of the elements 0, 1, … → address: to lay them out each time would take longer."""
    # What comes out of a register, as a random number does, is in the host's byte order.
    keys = (_value(1, struct.pack("=I", place)) for place in range(count))
    return tuple(nested(1, key, _value(2, bytes(length)))[:-length] for key in keys)


# --- commands ---------------------------------------------------------------------------------------------------------


class Table:
    """Makes commands for one table, to be sent in this order and in one transaction."""

    def __init__(self, family: str, name: str) -> None:
        self._family = FAMILIES[family]
        self._name = text(1, name)
        self._sets = 0

    def add(self) -> Message:
        return self._message(NEWTABLE, _CREATE, number(2, 0))

    def delete(self) -> Message:
        return self._message(DELTABLE, 0)

    def add_chain(self, chain: str) -> Message:
        return self._message(NEWCHAIN, _CREATE, text(3, chain))

    def add_nat_chain(self, chain: str, hook: int, priority: int) -> Message:
        """Add a chain that the kernel calls."""
        return self._message(
            NEWCHAIN, _CREATE, text(3, chain), nested(4, number(1, hook), number(2, priority)), text(7, "nat")
        )

    def delete_chain(self, chain: str) -> Message:
        return self._message(DELCHAIN, 0, text(3, chain))

    def flush(self, chain: str) -> Message:
        return self._message(DELRULE, 0, text(2, chain))

    def add_rule(self, chain: str, expressions: Iterable[bytes]) -> Message:
        return self._message(NEWRULE, _CREATE | _APPEND, text(2, chain), nested(4, *expressions))

    def add_ranges(self, name: str, kind: int, length: int) -> Message:
        """Add a set of ranges of addresses."""
        return self._add_set(name, INTERVAL, number(4, kind), number(5, length))

    def add_verdicts(self, name: str, kinds: Iterable[int], length: int) -> Message:
        """Add a map of verdicts by a key of these kinds and this length."""
        key = 0
        for kind in kinds:
            key = key << 6 | kind
        return self._add_set(name, _MAP, number(4, key), number(5, length), number(6, _VERDICT), number(7, 0))

    def add_choices(self, addresses: Sequence[bytes]) -> tuple[int, list[Message]]:
        """Add a map 0, 1, … → addresses for the rule that comes next; return the identity that the rule needs too."""
        count, length = len(addresses), len(addresses[0])
        key = (number(4, INTEGER), number(5, 4))
        value = (number(6, IPV4 if length == 4 else IPV6), number(7, length))
        more = (nested(9, number(1, count)), attribute(13, _HOST_THEN_BIG))
        added = self._add_set(ANONYMOUS_MAP, _ANONYMOUS | _CONSTANT | _MAP, *key, *value, *more)
        elements = list(map(add, _places(count, length), addresses))
        return self._sets, [added, *self._portions(NEWSETELEM, ANONYMOUS_MAP, elements, number(4, self._sets))]

    def add_elements(self, name: str, elements: Sequence[bytes]) -> Iterable[Message]:
        return self._portions(NEWSETELEM, name, elements)

    def delete_elements(self, name: str, elements: Sequence[bytes]) -> Iterable[Message]:
        return self._portions(DELSETELEM, name, elements)

    def empty(self, name: str) -> Message:
        return self._message(DELSETELEM, 0, text(2, name))

    def _add_set(self, name: str, flags: int, *attributes: bytes) -> Message:
        self._sets += 1
        return self._message(NEWSET, _CREATE, text(2, name), number(3, flags), number(10, self._sets), *attributes)

    def _portions(self, kind: int, name: str, elements: Sequence[bytes], *attributes: bytes) -> Iterable[Message]:
        flags = _CREATE if kind == NEWSETELEM else 0
        for start in range(0, len(elements), _ELEMENTS_A_MESSAGE):
            portion = nested(3, *elements[start : start + _ELEMENTS_A_MESSAGE])
            yield self._message(kind, flags, text(2, name), *attributes, portion)

    def _message(self, kind: int, flags: int, *attributes: bytes) -> Message:
        return Message(kind, flags, self._family, self._name + b"".join(attributes))


_VERDICT_REGISTER = 0
_IIFNAME, _L4PROTO = 6, 16
_NETWORK, _TRANSPORT = 1, 2
_EQUAL, _UNEQUAL = 0, 1
_NOT_IN_SET = 1
_TYPE_OF_ADDRESS, _OF_DESTINATION = 3, 2
_LOCAL = (2).to_bytes(4, sys.byteorder)
_RANDOM = 1
_DNAT, _WITH_PORT = 1, 2
# Where addresses and the port are in their headers, and how long they are.
_SOURCE = {"ip": (12, 4), "ip6": (8, 16)}
_DESTINATION = {"ip": (16, 4), "ip6": (24, 16)}
_DESTINATION_PORT = (2, 2)


def link(register: int = 0) -> bytes:
    """Load the name of the link that the packet came by: four registers."""
    return _meta(_IIFNAME, register)


def protocol(register: int = 0) -> bytes:
    return _meta(_L4PROTO, register)


def source(family: str) -> bytes:
    return _payload(_NETWORK, _SOURCE[family], 0)


def destination(family: str, register: int = 0) -> bytes:
    return _payload(_NETWORK, _DESTINATION[family], register)


def destination_port(register: int) -> bytes:
    return _payload(_TRANSPORT, _DESTINATION_PORT, register)


def is_(value: bytes) -> bytes:
    return _compare(_EQUAL, value)


def is_not(value: bytes) -> bytes:
    return _compare(_UNEQUAL, value)


def masked(mask: bytes) -> bytes:
    parts = (number(3, len(mask)), _bytes(4, mask), _bytes(5, bytes(len(mask))))
    return _expression("bitwise", _register(1), _register(2), *parts)


def is_not_in(name: str) -> bytes:
    return _expression("lookup", text(1, name), _register(2), number(5, _NOT_IN_SET))


def goes_by(name: str) -> bytes:
    """Take the verdict that a map has, if it has one."""
    return _expression("lookup", text(1, name), _register(2), number(3, _VERDICT_REGISTER))


def to_this_host() -> tuple[bytes, bytes]:
    """Go on if the packet is for an address of the host."""
    kind = _expression("fib", _register(1), number(2, _TYPE_OF_ADDRESS), number(3, _OF_DESTINATION))
    return kind, is_(_LOCAL)


def random_of(count: int, identity: int) -> tuple[bytes, bytes]:
    """Load one of the `count` values of the map that was added for this rule, each as often as the others."""
    place = _expression("numgen", _register(1), number(2, count), number(3, _RANDOM))
    return place, _expression("lookup", text(1, ANONYMOUS_MAP), _register(2), _register(3), number(4, identity))


def load(value: bytes, register: int = 0) -> bytes:
    return _expression("immediate", _register(1, register), _bytes(2, value))


def send_to(family: str, port_in: int | None = None) -> bytes:
    """Send the connection to the address in register 0; `port_in`: the register that has the port, else it stays."""
    port = () if port_in is None else (_register(5, port_in), number(7, _WITH_PORT))
    return _expression("nat", number(1, _DNAT), number(2, FAMILIES[family]), _register(3), *port)


def _meta(what: int, register: int) -> bytes:
    return _expression("meta", _register(1, register), number(2, what))


def _payload(header: int, place: tuple[int, int], register: int) -> bytes:
    offset, length = place
    return _expression("payload", _register(1, register), number(2, header), number(3, offset), number(4, length))


def _compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", _register(1), number(2, operator), _bytes(3, value))


@lru_cache(maxsize=1024)
def _expression(name: str, *parts: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *parts))


def _register(kind: int, register: int = 0) -> bytes:
    """Name a register as nft does: 1 to 4 are the first, fifth, ... of those that the kernel counts from 8."""
    return number(kind, register + 8 if register % 4 else register // 4 + 1)


def _bytes(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))
