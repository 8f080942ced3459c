"""An nftables table as a value, and the difference between two of them as commands for `nft -f -`. Pure.

The whole table is replaced when nobody knows what the kernel has; a change after that touches only what differs, so
that it costs what changed and not what is there. Either way it is one transaction: the kernel never has half of it.

nft reads a whole language from its input: one text of others in it would be commands of root's on this host. So an
`Nft` is made of a template, which is a literal, and of values that cannot say anything else. What an f-string makes is
none, and no rule, set or table takes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Any, Self, TypeAlias, TypeVar, Union

from worker.intake.addresses import Protocol, text_of
from worker.intake.identifiers import AddressText, InterfaceName
from worker.net.plan.names import BRIDGE_PREFIX, GATEWAY_BRIDGE, LOOPBACK, MARK_MASK, TABLE, TUNNEL, WIREGUARD_LINKS

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


OUR_TABLE = Nft(TABLE)
IP, IP6, BRIDGE = Nft("ip"), Nft("ip6"), Nft("bridge")
_ELEMENTS_A_LINE = 200


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in nft's own words; `hook` is the base chain's declaration, empty for one that others jump to."""

    rules: tuple[Nft, ...] = ()
    hook: Nft = NOTHING


@dataclass(frozen=True, slots=True)
class Lookup:
    """A named set, or a map when `type` has a colon. `elements`: key → value, which is empty in a set.

    `type`: a type's name, or a place in the packet (@BASE,OFFSET,LENGTH), and then the elements are numbers.
    """

    type: Nft
    elements: Mapping[Nft, Nft] = field(default_factory=dict)
    interval: bool = False

    @property
    def kind(self) -> Nft:
        return Nft("map") if " : " in self.type else Nft("set")


@dataclass(frozen=True, slots=True)
class Ruleset:
    """`family`: nft's word for what the table sees, as ip, bridge, netdev. `counters`: names that rules count under."""

    lookups: Mapping[Nft, Lookup] = field(default_factory=dict)
    chains: Mapping[Nft, Chain] = field(default_factory=dict)
    family: Nft = IP
    counters: tuple[Nft, ...] = ()

    @property
    def table(self) -> Nft:
        return Nft("$family $name", family=self.family, name=OUR_TABLE)


def whole(ruleset: Ruleset) -> Nft:
    """Write the commands that make the table exactly this, whatever it was."""
    table = ruleset.table
    made = [*_remove_table(table), Nft("table $table {", table=table)]
    for name, lookup in ruleset.lookups.items():
        made += [Nft("$kind $name {", kind=lookup.kind, name=name), *_declaration(lookup), Nft("}")]
    made += [Nft("counter $name { }", name=name) for name in ruleset.counters]
    made += [Nft("chain $name { $hook }", name=name, hook=chain.hook) for name, chain in ruleset.chains.items()]
    made.append(Nft("}"))
    made += _additions(Ruleset(family=ruleset.family), ruleset)
    for name, chain in ruleset.chains.items():
        made += _rules(table, name, chain)
    return lines(made)


def difference(old: Ruleset, new: Ruleset) -> Nft:
    """Write the commands that lead from one table to another, empty when they are the same.

    Both have the same lookups and counters, and a chain in both is called at the same place; what differs are elements,
    rules and other chains.
    """
    table = new.table
    changed = {name: chain for name, chain in new.chains.items() if _differs(old.chains.get(name), chain)}
    made = [
        Nft("add chain $table $name { $hook }", table=table, name=name, hook=chain.hook)
        for name, chain in changed.items()
        if name not in old.chains
    ]
    made += _removals(old, new)
    for name, chain in changed.items():
        if name in old.chains:
            made.append(Nft("flush chain $table $name", table=table, name=name))
        made += _rules(table, name, chain)
    made += _additions(old, new)
    for name in old.chains.keys() - new.chains.keys():
        made.append(Nft("flush chain $table $name", table=table, name=name))
        made.append(Nft("delete chain $table $name", table=table, name=name))
    return lines(made)


def removal(family: Nft, name: Nft = OUR_TABLE) -> Nft:
    return lines(_remove_table(Nft("$family $name", family=family, name=name)))


def _remove_table(table: Nft) -> tuple[Nft, Nft]:
    """Write the commands that remove a table, whether it is there or not."""
    return Nft("table $table", table=table), Nft("delete table $table", table=table)


def _rules(table: Nft, name: Nft, chain: Chain) -> Iterator[Nft]:
    return (Nft("add rule $table $name $rule", table=table, name=name, rule=rule) for rule in chain.rules)


def _declaration(lookup: Lookup) -> list[Nft]:
    keyword = Nft("typeof") if lookup.type.startswith("@") else Nft("type")
    declared = Nft("$keyword $type", keyword=keyword, type=lookup.type)
    return [declared, Nft("flags interval")] if lookup.interval else [declared]


def _differs(old: Chain | None, new: Chain) -> bool:
    return old is not new and old != new


def _additions(old: Ruleset, new: Ruleset) -> Iterator[Nft]:
    for name, lookup in new.lookups.items():
        before = old.lookups[name].elements if name in old.lookups else {}
        if lookup.elements is not before:
            added = [_element(key, value) for key, value in lookup.elements.items() if before.get(key) != value]
            yield from _in_portions(Nft("add element $table $name", table=new.table, name=name), added)


def _removals(old: Ruleset, new: Ruleset) -> Iterator[Nft]:
    for name, lookup in old.lookups.items():
        after = new.lookups[name].elements
        if lookup.elements is not after:
            removed = [key for key, value in lookup.elements.items() if after.get(key) != value]
            yield from _in_portions(Nft("delete element $table $name", table=new.table, name=name), removed)


def _element(key: Nft, value: Nft) -> Nft:
    return Nft("$key : $value", key=key, value=value) if value else key


def _in_portions(command: Nft, elements: list[Nft]) -> Iterator[Nft]:
    for start in range(0, len(elements), _ELEMENTS_A_LINE):
        portion = anonymous_set(elements[start : start + _ELEMENTS_A_LINE])
        yield Nft("$command $portion", command=command, portion=portion)
