"""Text for `nft -f -`, made of templates of ours and of typed values. Pure.

nft reads a whole language from its input: one text of others in it would be commands of root's on this host. So an
`Nft` is made of a template, which is a literal, and of values that cannot say anything else. What an f-string makes is
none, and no rule, set or table takes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Any, Self, TypeAlias, TypeVar, Union

from worker.intake.addresses import Protocol, text_of
from worker.intake.words import AddressText, InterfaceName
from worker.net.plan.names import BRIDGE_PREFIX, GATEWAY_BRIDGE, LOOPBACK, MARK_MASK, TUNNEL, WIREGUARD_LINKS

Value: TypeAlias = Union[
    int, IPv4Address, IPv4Network, IPv6Address, IPv6Network, AddressText, InterfaceName, Protocol, "Nft"
]

_PLACE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NAME = re.compile(r"[a-z][a-z0-9_]*")

T = TypeVar("T")


class Nft(str):
    """A piece of nft's language.

    template: a literal. `$name` or `${name}` stands for the value of that name, or for one that all rules speak of:
    `$tunnel`, `$gateway` and the others at the end of this module.

    Raises:
        TypeError: a value may be any text.

    """

    __slots__ = ()

    def __new__(cls, template: str, **values: Value) -> Self:
        def value(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            return word(values[name]) if name in values else _OURS[name]

        return super().__new__(cls, _PLACE.sub(value, template))


def word(value: Value) -> Nft:
    """Write a value; a link's name in quotes. Raises TypeError as `Nft` does."""
    try:
        return str.__new__(Nft, _WRITERS[type(value)](value))
    except KeyError:
        raise TypeError(f"a {type(value).__name__} may be any text, and goes into no rule") from None


def in_base_16(number: int) -> Nft:
    return str.__new__(Nft, f"{number:#x}")


def concatenate(*values: Value) -> Nft:
    """Write what nft calls a concatenation: several values that are one key."""
    return str.__new__(Nft, " . ".join(map(word, values)))


def lines(pieces: Iterable[Nft]) -> Nft:
    return str.__new__(Nft, "".join(f"{piece}\n" for piece in pieces))


def anonymous_set(pieces: Iterable[Nft]) -> Nft:
    """Write what nft calls an anonymous set."""
    return str.__new__(Nft, f"{{ {', '.join(pieces)} }}")


def by_name(**things: T) -> dict[Nft, T]:
    """Return chains or lookups by their names, which are no words of nft's own."""
    assert all(map(_NAME.fullmatch, things)), "names are ours"
    return {str.__new__(Nft, name): thing for name, thing in things.items()}


def members(keys: Iterable[Nft]) -> dict[Nft, Nft]:
    """Make the elements of a set, in an order that does not depend on hashing."""
    return dict.fromkeys(sorted(keys), NOTHING)


_WRITERS: Mapping[type, Callable[[Any], str]] = MappingProxyType(
    {
        int: str,
        AddressText: str,
        Protocol: str,
        Nft: str,
        InterfaceName: '"{}"'.format,
        **dict.fromkeys((IPv4Address, IPv4Network, IPv6Address, IPv6Network), text_of),
    }
)
NOTHING = Nft("")
_OURS: Mapping[str, Nft] = MappingProxyType(
    {
        "tunnel": word(TUNNEL),
        "gateway": word(GATEWAY_BRIDGE),
        "lo": word(LOOPBACK),
        "both": anonymous_set(map(word, (GATEWAY_BRIDGE, TUNNEL))),
        "encrypted": anonymous_set(map(word, WIREGUARD_LINKS)),
        "tunnels": anonymous_set(map(word, (TUNNEL, *WIREGUARD_LINKS))),
        "bridges": Nft(f'"{BRIDGE_PREFIX}*"'),
        "peer_bits": in_base_16(MARK_MASK),
        "no_peer_bits": in_base_16(~MARK_MASK & 0xFFFFFFFF),
    }
)
