"""The services' table as the kernel would leave it, read from the bytes that it is sent.

It refuses what the kernel refuses: what is there already, or is not; a chain that is not empty or that a map names.
"""

import struct
import sys
from collections.abc import Sequence

from worker.intake.addresses import Protocol
from worker.net.plan import nf_messages as nf
from worker.net.plan.service_table import Choice, ServiceTable
from worker.net.watch.netlink_bytes import attributes, messages

FAMILIES = {2: ("ip", 4), 10: ("ip6", 16)}
PROTOCOLS = {6: Protocol.TCP, 17: Protocol.UDP, 132: Protocol.SCTP}
BASE = ("h_pre", "h_out")


class ServicesKernel:
    """One family's table; `rules` are lists of expressions, each a name and its attributes."""

    def __init__(self) -> None:
        self.there = False
        self.chains: dict[str, list[Choice | None]] = {}
        self.sets: dict[str, dict[bytes, object]] = {}
        self.family = 2
        self._new: dict[int, dict[bytes, object]] = {}

    def run(self, commands: Sequence[nf.Message]) -> None:
        """Carry out one transaction."""
        data = nf.batch(commands)
        heads = [struct.unpack_from("=HHI", data, at + 4) for at in _starts(data)]
        kinds = [kind for kind, _, _ in heads]
        assert (kinds[0], kinds[-1]) == (16, 17), "a transaction has a beginning and an end"
        assert [number for _, flags, number in heads if flags & 4] == [len(commands) - 1], "the last is answered"
        self._new = {}
        for message in list(messages(data))[1:-1]:
            assert message.kind >> 8 == 10
            self.family = message.body[0]
            self._one(message.kind & 255, dict(attributes(message.body, 4)))
        assert not self._new, "every anonymous map is some rule's"

    def _one(self, kind: int, found: dict[int, memoryview]) -> None:
        assert _text(found[1]) == "orc-services"
        if kind in (nf.NEWTABLE, nf.DELTABLE):
            assert kind == nf.NEWTABLE or self.there
            self.there = kind == nf.NEWTABLE
            if not self.there:
                self.chains, self.sets = {}, {}
            return
        assert self.there
        if kind in (nf.NEWCHAIN, nf.DELCHAIN):
            self._chain(kind, _text(found[3]))
        elif kind in (nf.NEWRULE, nf.DELRULE):
            self._rule(kind, self.chains[_text(found[2])], found)
        elif kind == nf.NEWSET:
            name = _text(found[2])
            assert name not in self.sets
            self.sets |= {name: {}} if name != nf.ANONYMOUS_MAP else {}
            self._new |= {_number(found[10]): {}} if name == nf.ANONYMOUS_MAP else {}
        else:
            name = _text(found[2])
            lookup = self._new[_number(found[4])] if name == nf.ANONYMOUS_MAP else self.sets[name]
            self._elements(kind, lookup, found)

    def _chain(self, kind: int, name: str) -> None:
        if kind == nf.NEWCHAIN:
            assert name not in self.chains
            self.chains[name] = []
            return
        assert not self.chains.pop(name)
        assert name not in [value for lookup in self.sets.values() for value in lookup.values()]

    def _rule(self, kind: int, chain: list[Choice | None], found: dict[int, memoryview]) -> None:
        if kind == nf.DELRULE:
            chain.clear()
            return
        parts = [dict(attributes(part, 0)) for _, part in attributes(found[4], 0)]
        chain.append(self._choice([(_text(part[1]), dict(attributes(part[2], 0))) for part in parts]))

    def _choice(self, rule: list[tuple[str, dict[int, memoryview]]]) -> Choice | None:
        """Read a rule that sends to one of several addresses; None: another one."""
        _, length = FAMILIES[self.family]
        if rule[-1][0] != "nat":
            return None
        values = [bytes(_value(part[2])) for name, part in rule if name == "immediate"]
        (protocol,) = [bytes(_value(part[3])) for name, part in rule if name == "cmp"] or [b"\0"]
        port = int.from_bytes(values.pop()) if 5 in rule[-1][1] else 0
        for name, part in rule:
            if name == "lookup":
                found = self._new.pop(_number(part[4]))
                (count,) = [_number(draw[2]) for each, draw in rule if each == "numgen"]
                assert list(found) == [number.to_bytes(4, sys.byteorder) for number in range(count)]
                values = [bytes(value) for value in found.values()]  # type: ignore[call-overload]
        assert all(len(value) == length for value in values)
        return Choice(tuple(values), PROTOCOLS.get(protocol[0]), port)

    def _elements(self, kind: int, lookup: dict[bytes, object], found: dict[int, memoryview]) -> None:
        if kind == nf.DELSETELEM and 3 not in found:
            lookup.clear()
            return
        for _, each in attributes(found[3], 0):
            part = dict(attributes(each, 0))
            key = bytes(_value(part[1])) + (b"end" if 3 in part else b"")
            if kind == nf.DELSETELEM:
                del lookup[key]
                continue
            assert key not in lookup
            lookup[key] = self._data(part[2]) if 2 in part else None

    def _data(self, data: memoryview) -> object:
        part = dict(attributes(data, 0))
        if 1 in part:
            return bytes(part[1])
        verdict = dict(attributes(part[2], 0))
        if _number(verdict[1]) == nf.RETURN:
            return None
        assert _number(verdict[1]) == nf.GOTO
        assert _text(verdict[2]) in self.chains
        return _text(verdict[2])

    def shows(self, wanted: ServiceTable) -> None:
        """Assert that the kernel has this."""
        name, length = FAMILIES[self.family]
        assert name == wanted.family
        base = {chain: self.chains[chain] for chain in BASE}
        assert [len(rules) for rules in base.values()] == [3, 2]
        assert {chain: rules for chain, rules in self.chains.items() if chain not in BASE} == {
            chain: [_written_out(choice)] for chain, choice in wanted.chains.items()
        }

        def service(key: bytes) -> tuple[Protocol, int]:
            return PROTOCOLS[key[0]], int.from_bytes(key[4:6])

        vips = {(key[:16].rstrip(b"\0").decode(), key[16:]): each for key, each in self.sets["vips"].items()}
        assert vips == wanted.vips
        assert {service(key): each for key, each in self.sets["mesh"].items()} == wanted.mesh
        at = {(key[:length], *service(key[length:])): each for key, each in self.sets["meshaddr"].items()}
        assert at == wanted.at_address
        begin = [bytes(key) for key in self.sets["noports"] if not key.endswith(b"end")]
        assert begin == [each[0].packed for each in wanted.no_ports]
        ends = [key.removesuffix(b"end") for key in self.sets["noports"] if key.endswith(b"end")]
        assert ends == [(int(each[-1]) + 1).to_bytes(length) for each in wanted.no_ports]


def _written_out(choice: Choice) -> Choice:
    if not choice.prefix:
        return choice
    return choice._replace(addresses=tuple(choice.prefix + each for each in choice.addresses), prefix=b"")


def _starts(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        found.append(at)
        at += struct.unpack_from("=I", data, at)[0]
    return found


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode()


def _number(value: memoryview) -> int:
    return int.from_bytes(value, signed=True)


def _value(data: memoryview) -> memoryview:
    return dict(attributes(data, 0))[1]
