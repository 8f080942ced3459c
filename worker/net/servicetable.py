"""The table that balances services, as a value and as commands for the kernel. Pure.

    h_pre, h_out    what the kernel calls: to a virtual address (`vips`), to a published port (`mesh`, `meshaddr`)
    v_…, m_…        a chain for each virtual address and published port, which those maps send to

Like what `worker.net.ruleset` writes, it is replaced where nobody knows what the kernel has, and changed where it
differs after that, in one transaction either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET6, inet_aton, inet_pton
from typing import NamedTuple

from worker.net import nfexpressions as when
from worker.net.names import BRIDGE_PREFIX, SERVICES_TABLE
from worker.net.nfmessages import IFNAME, IPV4, IPV6, PROTOCOL, SERVICE, Message, Table, element, intervals

_READ: Mapping[str, Callable[[str], bytes]] = {"ip": inet_aton, "ip6": partial(inet_pton, AF_INET6)}
_TYPES = {"ip": (IPV4, 4), "ip6": (IPV6, 16)}
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_PREROUTING, _OUTPUT = 0, 3
_BEFORE_DOCKER = -110
_IFNAME_BYTES = 16
_PORT_REGISTER = 4
# One of the maps' keys.
Key = tuple[str | int, ...]
_LINK_LOCAL, _LINK_LOCAL_MASK = b"\xfe\x80" + bytes(14), b"\xff\xc0" + bytes(14)


class Choice(NamedTuple):
    """A chain of a service: one of these addresses, at random; `port` 0: the one that was asked for.

    `prefix`: 12 bytes, where the addresses are those that follow from these IPv4 ones (`common.addressing6`).
    """

    addresses: tuple[str, ...]
    protocol: str = ""
    port: int = 0
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """What `family` (ip, ip6) has.

    chains: by name, each with one address at least.
    vips: (bridge, address) → chain. mesh: (protocol, port) → chain. at_address: (address, protocol, port) → chain, or
    "" for what is no published port there.
    no_ports: ranges of addresses that are the host's, and answer on no published port.
    """

    family: str
    chains: Mapping[str, Choice] = field(default_factory=dict)
    vips: Mapping[Key, str] = field(default_factory=dict)
    mesh: Mapping[Key, str] = field(default_factory=dict)
    at_address: Mapping[Key, str] = field(default_factory=dict)
    no_ports: tuple[IPv4Network | IPv6Network, ...] = ()


def whole(wanted: ServiceTable) -> list[Message]:
    """Make the table exactly this, whatever it was."""
    table = Table(wanted.family, SERVICES_TABLE)
    address, length = _TYPES[wanted.family]
    made = [
        table.add(),
        table.delete(),
        table.add(),
        table.add_ranges("noports", address, length),
        table.add_verdicts("vips", (IFNAME, address), _IFNAME_BYTES + length),
        table.add_verdicts("mesh", (PROTOCOL, SERVICE), 8),
        table.add_verdicts("meshaddr", (address, PROTOCOL, SERVICE), length + 8),
        table.add_nat_chain("h_pre", _PREROUTING, _BEFORE_DOCKER),
        table.add_nat_chain("h_out", _OUTPUT, _BEFORE_DOCKER),
    ]
    to_ports = list(_to_ports(wanted.family))
    made += [table.add_rule("h_pre", rule) for rule in (_to_vips(wanted.family), *to_ports)]
    made += [table.add_rule("h_out", rule) for rule in to_ports]
    return made + list(_changes(table, ServiceTable(wanted.family), wanted))


def difference(old: ServiceTable, new: ServiceTable) -> list[Message]:
    """Lead from one table to another; empty when they are the same."""
    return list(_changes(Table(new.family, SERVICES_TABLE), old, new)) if old is not new else []


def removal(family: str) -> list[Message]:
    """Remove the table, if it is there."""
    table = Table(family, SERVICES_TABLE)
    return [table.add(), table.delete()]


# --- what every table has ---------------------------------------------------------------------------------------------


def _to_vips(family: str) -> tuple[bytes, ...]:
    return when.link(), when.destination(family, _IFNAME_BYTES // 4), when.goes_by("vips")


def _to_ports(family: str) -> Iterator[tuple[bytes, ...]]:
    after_address = _TYPES[family][1] // 4
    here = (when.destination(family), when.is_not_in("noports"), *_not_from_a_link(family), *when.to_this_host())
    what = when.protocol(after_address), when.destination_port(after_address + 1)
    yield *here, when.destination(family), *what, when.goes_by("meshaddr")
    yield *here, when.protocol(), when.destination_port(1), when.goes_by("mesh")


def _not_from_a_link(family: str) -> tuple[bytes, ...]:
    """Leave what comes from a link-local address: it means nothing to a container on another link."""
    if family == "ip":
        return ()
    return when.source(family), when.masked(_LINK_LOCAL_MASK), when.is_not(_LINK_LOCAL)


# --- what services change ---------------------------------------------------------------------------------------------


def _changes(table: Table, old: ServiceTable, new: ServiceTable) -> Iterator[Message]:
    """Chains first, for maps name them, and the removed ones last, when no map does."""
    changed = {name: choice for name, choice in new.chains.items() if _differs(old.chains.get(name), choice)}
    yield from (table.add_chain(name) for name in changed if name not in old.chains)
    for name, before, after in _maps(old, new):
        removed = [element(_key(new.family, key)) for key, chain in before.items() if after.get(key) != chain]
        yield from table.delete_elements(name, removed)
    for name, choice in changed.items():
        if name in old.chains:
            yield table.flush(name)
        yield from _choose(table, new.family, name, choice)
    for name, before, after in _maps(old, new):
        added = [element(_key(new.family, key), chain) for key, chain in after.items() if before.get(key) != chain]
        yield from table.add_elements(name, added)
    if old.no_ports != new.no_ports:
        yield table.empty("noports")
        yield from table.add_elements("noports", intervals((each[0].packed, each[-1].packed) for each in new.no_ports))
    for name in old.chains.keys() - new.chains.keys():
        yield table.flush(name)
        yield table.delete_chain(name)


def _differs(old: Choice | None, new: Choice) -> bool:
    return old is not new and old != new


def _maps(old: ServiceTable, new: ServiceTable) -> Iterator[tuple[str, Mapping[Key, str], Mapping[Key, str]]]:
    yield "vips", old.vips, new.vips
    yield "mesh", old.mesh, new.mesh
    yield "meshaddr", old.at_address, new.at_address


def _choose(table: Table, family: str, chain: str, choice: Choice) -> Iterator[Message]:
    read = inet_aton if choice.prefix else _READ[family]
    addresses = [choice.prefix + read(address) for address in choice.addresses]
    if len(addresses) == 1:
        address: Sequence[bytes] = (when.load(addresses[0]),)
    else:
        # Random, not in turn: a turn would begin with the first one after every change.
        identity, messages = table.add_choices(addresses)
        yield from messages
        address = when.random_of(len(addresses), identity)
    if not choice.port:
        yield table.add_rule(chain, (*address, when.send_to(family)))
        return
    asked = when.protocol(), when.is_(_PROTOCOLS[choice.protocol].to_bytes())
    port = when.load(choice.port.to_bytes(2), _PORT_REGISTER)
    yield table.add_rule(chain, (*asked, *address, port, when.send_to(family, _PORT_REGISTER)))


def _key(family: str, key: Key) -> bytes:
    """Lay out a key: each part begins a new register."""
    return b"".join(_part(family, part) for part in key)


def _part(family: str, part: str | int) -> bytes:
    if isinstance(part, int):
        return part.to_bytes(2) + bytes(2)
    if part in _PROTOCOLS:
        return _PROTOCOLS[part].to_bytes() + bytes(3)
    if part.startswith(BRIDGE_PREFIX):
        return part.encode().ljust(_IFNAME_BYTES, b"\0")
    return _READ[family](part)
