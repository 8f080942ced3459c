"""The table that balances services, as a value and as commands for the kernel. Pure.

    h_pre, h_out    what the kernel calls: to a virtual address (`vips`), to a published port (`mesh`, `meshaddr`)
    v_…, m_…        a chain for each virtual address and published port, which those maps send to

Like what `worker.net.plan.ruleset` writes, it is replaced where nobody knows what the kernel has, and changed where it
differs after that, in one transaction either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from worker.intake.addresses import Protocol
from worker.intake.identifiers import ChainName, InterfaceName
from worker.net.plan import nf_messages as nf
from worker.net.plan.names import SERVICES_TABLE
from worker.net.plan.nf_messages import IFNAME, IPV4, IPV6, PROTOCOL, SERVICE, Message, Table, element, intervals
from worker.net.plan.ruleset import Nft

_TYPES = {"ip": (IPV4, 4), "ip6": (IPV6, 16)}
_PROTOCOLS = MappingProxyType({Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132})
_PREROUTING, _OUTPUT = 0, 3
_BEFORE_DOCKER = -110
_IFNAME_BYTES = 16
_PORT_REGISTER = 4
# The maps' keys; addresses are packed.
Vip: TypeAlias = tuple[InterfaceName, bytes]
AtPort: TypeAlias = tuple[Protocol, int]
AtAddress: TypeAlias = tuple[bytes, Protocol, int]
_Key: TypeAlias = Vip | AtPort | AtAddress
_Map: TypeAlias = Mapping[Any, ChainName | None]
_LINK_LOCAL, _LINK_LOCAL_MASK = b"\xfe\x80" + bytes(14), b"\xff\xc0" + bytes(14)


class Choice(NamedTuple):
    """A chain of a service: one of these addresses (packed), at random.

    protocol, port: those of a published port; without a protocol the port stays what was asked for.
    prefix: 12 bytes, where the addresses are those that follow from these IPv4 ones (`common.net.addressing`).
    """

    addresses: tuple[bytes, ...]
    protocol: Protocol | None = None
    port: int = 0
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """What `family` (ip, ip6) has.

    chains: by name, each with one address at least.
    vips: (bridge, address) → chain. mesh: (protocol, port) → chain. at_address: (address, protocol, port) → chain, or
    None for what is not a published port there.
    no_ports: ranges of addresses that are the host's, and answer on no published port.
    """

    family: Nft
    chains: Mapping[ChainName, Choice] = field(default_factory=dict)
    vips: Mapping[Vip, ChainName] = field(default_factory=dict)
    mesh: Mapping[AtPort, ChainName] = field(default_factory=dict)
    at_address: Mapping[AtAddress, ChainName | None] = field(default_factory=dict)
    no_ports: tuple[IPv4Network | IPv6Network, ...] = ()


def whole(wanted: ServiceTable) -> list[Message]:
    """Return the commands that make the table exactly this, whatever it was."""
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
    """Return the commands that lead from one table to another; empty when they are the same."""
    return list(_changes(Table(new.family, SERVICES_TABLE), old, new)) if old is not new else []


def removal(family: str) -> list[Message]:
    """Return the commands that remove the table, whether it is there or not."""
    table = Table(family, SERVICES_TABLE)
    return [table.add(), table.delete()]


# --- what every table has ---------------------------------------------------------------------------------------------


def _to_vips(family: str) -> tuple[bytes, ...]:
    return nf.link(), nf.destination(family, _IFNAME_BYTES // 4), nf.goes_by("vips")


def _to_ports(family: str) -> Iterator[tuple[bytes, ...]]:
    after_address = _TYPES[family][1] // 4
    here = (
        nf.destination(family),
        nf.is_not_in("noports"),
        *_not_from_a_link(family),
        *nf.to_this_host(),
    )
    what = nf.protocol(after_address), nf.destination_port(after_address + 1)
    yield *here, nf.destination(family), *what, nf.goes_by("meshaddr")
    yield *here, nf.protocol(), nf.destination_port(1), nf.goes_by("mesh")


def _not_from_a_link(family: str) -> tuple[bytes, ...]:
    """Leave what comes from a link-local address: it means nothing to a container on another link."""
    if family == "ip":
        return ()
    return nf.source(family), nf.masked(_LINK_LOCAL_MASK), nf.is_not(_LINK_LOCAL)


# --- what services change ---------------------------------------------------------------------------------------------


def _changes(table: Table, old: ServiceTable, new: ServiceTable) -> Iterator[Message]:
    """Chains first, for maps name them, and the removed ones last, when no map does."""
    changed = {name: choice for name, choice in new.chains.items() if _differs(old.chains.get(name), choice)}
    yield from (table.add_chain(name) for name in changed if name not in old.chains)
    for name, before, after in _maps(old, new):
        removed = [element(_key(key)) for key, chain in before.items() if _other(after, key, chain)]
        yield from table.delete_elements(name, removed)
    for name, choice in changed.items():
        if name in old.chains:
            yield table.flush(name)
        yield from _choose(table, new.family, name, choice)
    for name, before, after in _maps(old, new):
        added = [element(_key(key), chain or "") for key, chain in after.items() if _other(before, key, chain)]
        yield from table.add_elements(name, added)
    if old.no_ports != new.no_ports:
        yield table.empty("noports")
        yield from table.add_elements("noports", intervals((each[0].packed, each[-1].packed) for each in new.no_ports))
    for name in old.chains.keys() - new.chains.keys():
        yield table.flush(name)
        yield table.delete_chain(name)


def _differs(old: Choice | None, new: Choice) -> bool:
    return old is not new and old != new


def _other(there: _Map, key: _Key, chain: ChainName | None) -> bool:
    """Whether a map does not have exactly this."""
    return key not in there or there[key] != chain


def _maps(old: ServiceTable, new: ServiceTable) -> Iterator[tuple[str, _Map, _Map]]:
    yield "vips", old.vips, new.vips
    yield "mesh", old.mesh, new.mesh
    yield "meshaddr", old.at_address, new.at_address


def _choose(table: Table, family: str, chain: ChainName, choice: Choice) -> Iterator[Message]:
    addresses = [choice.prefix + address for address in choice.addresses] if choice.prefix else choice.addresses
    if len(addresses) == 1:
        address: Sequence[bytes] = (nf.load(addresses[0]),)
    else:
        # Random, not in turn: a turn would begin with the first one after every change.
        identity, messages = table.add_choices(addresses)
        yield from messages
        address = nf.random_of(len(addresses), identity)
    if choice.protocol is None:
        yield table.add_rule(chain, (*address, nf.send_to(family)))
        return
    asked = nf.protocol(), nf.is_(_PROTOCOLS[choice.protocol].to_bytes())
    port = nf.load(choice.port.to_bytes(2), _PORT_REGISTER)
    yield table.add_rule(chain, (*asked, *address, port, nf.send_to(family, _PORT_REGISTER)))


def _key(key: _Key) -> bytes:
    """Lay out a key: each part begins a new register."""
    return b"".join(map(_part, key))


def _part(part: object) -> bytes:
    match part:
        case bytes():
            return part
        case int():
            return part.to_bytes(2) + bytes(2)
        case Protocol():
            return _PROTOCOLS[part].to_bytes() + bytes(3)
        case InterfaceName():
            return part.encode().ljust(_IFNAME_BYTES, b"\0")
    raise TypeError(f"a {type(part).__name__} is not part of a key")
