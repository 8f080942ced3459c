"""What the rules of services are made of, in the kernel's words: bytes for `nfmessages.Table.add_rule`. Pure.

An expression puts a value into a register, or the rule goes on only if a register has a value. A register has 4 bytes,
and is counted from 0 here; a longer value takes those that follow too.
"""

from __future__ import annotations

import sys
from functools import lru_cache

from worker.net.plan.nf_messages import ANONYMOUS_MAP, FAMILIES, attribute, nested, number, text

_VERDICT = 0
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
    return _expression("lookup", text(1, name), _register(2), number(3, _VERDICT))


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


def _compare(how: int, value: bytes) -> bytes:
    return _expression("cmp", _register(1), number(2, how), _bytes(3, value))


@lru_cache(maxsize=1024)
def _expression(name: str, *parts: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *parts))


def _register(kind: int, register: int = 0) -> bytes:
    """Name a register as nft does: 1 to 4 are the first, fifth, ... of those that the kernel counts from 8."""
    return number(kind, register + 8 if register % 4 else register // 4 + 1)


def _bytes(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))
