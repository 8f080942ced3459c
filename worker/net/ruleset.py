"""An nftables table as a value, and the difference between two of them as commands for `nft -f -`. Pure.

The whole table is replaced when nobody knows what the kernel has; a change after that touches only what differs, so
that it costs what changed and not what is there. Either way it is one transaction: the kernel never has half of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from worker.net.names import TABLE

_ELEMENTS_A_LINE = 200


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in nft's own words; `hook` is the base chain's declaration, empty for one that others jump to."""

    rules: tuple[str, ...] = ()
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A named set, or a map when `type` has a colon. `elements`: key → value, which is empty in a set.

    `type`: a type's name, or a place in the packet (@BASE,OFFSET,LENGTH), and then the elements are numbers.
    """

    type: str
    elements: Mapping[str, str] = field(default_factory=dict)
    interval: bool = False

    @property
    def kind(self) -> str:
        return "map" if " : " in self.type else "set"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """`family`: nft's word for what the table sees, as ip, bridge, netdev. `counters`: names that rules count under."""

    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    family: str = "ip"
    counters: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        return f"{self.family} {TABLE}"


def members(keys: Iterable[str]) -> dict[str, str]:
    """Make the elements of a set, in an order that does not depend on hashing."""
    return dict.fromkeys(sorted(keys), "")


def whole(ruleset: Ruleset) -> str:
    """Write the commands that make the table exactly this, whatever it was."""
    table = ruleset.table
    lines = [f"table {table}", f"delete table {table}", f"table {table} {{"]
    for name, lookup in ruleset.lookups.items():
        lines += [f"{lookup.kind} {name} {{", *_declaration(lookup), "}"]
    lines += [f"counter {name} {{ }}" for name in ruleset.counters]
    lines += [f"chain {name} {{ {chain.hook} }}" for name, chain in ruleset.chains.items()]
    lines.append("}")
    lines += _additions(Ruleset(family=ruleset.family), ruleset)
    for name, chain in ruleset.chains.items():
        lines += [f"add rule {table} {name} {rule}" for rule in chain.rules]
    return "\n".join(lines) + "\n"


def difference(old: Ruleset, new: Ruleset) -> str:
    """Write the commands that lead from one table to another, empty when they are the same.

    Both have the same lookups and counters, and a chain in both is called at the same place; what differs are elements,
    rules and other chains.
    """
    table = new.table
    changed = {name: chain for name, chain in new.chains.items() if _differs(old.chains.get(name), chain)}
    added = [name for name in changed if name not in old.chains]
    lines = [f"add chain {table} {name} {{ {changed[name].hook} }}" for name in added]
    lines += _removals(old, new)
    for name, chain in changed.items():
        if name in old.chains:
            lines.append(f"flush chain {table} {name}")
        lines += [f"add rule {table} {name} {rule}" for rule in chain.rules]
    lines += _additions(old, new)
    for name in old.chains.keys() - new.chains.keys():
        lines += [f"flush chain {table} {name}", f"delete chain {table} {name}"]
    return "\n".join(lines) + "\n" if lines else ""


def removal(family: str, name: str = TABLE) -> str:
    return f"table {family} {name}\ndelete table {family} {name}\n"


def _declaration(lookup: Lookup) -> list[str]:
    keyword = "typeof" if lookup.type.startswith("@") else "type"
    return [f"{keyword} {lookup.type}", *(["flags interval"] if lookup.interval else [])]


def _differs(old: Chain | None, new: Chain) -> bool:
    return old is not new and old != new


def _additions(old: Ruleset, new: Ruleset) -> Iterator[str]:
    for name, lookup in new.lookups.items():
        before = old.lookups[name].elements if name in old.lookups else {}
        if lookup.elements is not before:
            added = [_element(key, value) for key, value in lookup.elements.items() if before.get(key) != value]
            yield from _in_portions(f"add element {new.table} {name}", added)


def _removals(old: Ruleset, new: Ruleset) -> Iterator[str]:
    for name, lookup in old.lookups.items():
        after = new.lookups[name].elements
        if lookup.elements is not after:
            removed = [key for key, value in lookup.elements.items() if after.get(key) != value]
            yield from _in_portions(f"delete element {new.table} {name}", removed)


def _element(key: str, value: str) -> str:
    return f"{key} : {value}" if value else key


def _in_portions(command: str, elements: list[str]) -> Iterator[str]:
    for start in range(0, len(elements), _ELEMENTS_A_LINE):
        yield f"{command} {{ {', '.join(elements[start : start + _ELEMENTS_A_LINE])} }}"
