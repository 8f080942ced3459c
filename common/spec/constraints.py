"""Placement constraints: `node.labels.zone == east`, as the scheduler filters by them and the enforcer checks them.

The grammar is SwarmKit's (`manager/constraint/constraint.go`): a key, `==` or `!=`, a value; several are ANDed; a match
is whole and ignores case; a label that a node has not counts as empty. Better than there: what could never match (an
unknown key, a malformed address) is refused when it is said, not left pending.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from common.errors import InvalidArgument
from common.model import Node
from common.model.service import Placement

_EXPRESSION = re.compile(r"\s*(?P<key>[^=!\s]+)\s*(?P<operator>==|!=)\s*(?P<value>.*?)\s*", re.DOTALL)
_KEY = re.compile(r"[a-z_][a-z0-9\-_.]+", re.IGNORECASE)
_VALUE = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+", re.IGNORECASE)
_NODE_LABEL = "node.labels."
_ENGINE_LABEL = "engine.labels."
_HOSTNAME = "node.hostname"
_ATTRIBUTES: Mapping[str, Callable[[Node], str]] = {
    "node.id": lambda node: node.id,
    _HOSTNAME: lambda node: node.name,
    "node.ip": lambda node: node.status.addr,
    "node.role": lambda node: node.spec.role,
    "node.platform.os": lambda node: node.description.platform.os,
    "node.platform.arch": lambda node: node.description.platform.architecture,
}
_KEYS = ", ".join([*_ATTRIBUTES, _NODE_LABEL + "NAME", _ENGINE_LABEL + "NAME"])
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Constraint:
    """One parsed expression: what `read` says of a node is the folded `value`, or is not where `equal` is False.

    `network` is set for `node.ip` alone: the addresses that the value names. A node whose host name another one had
    first is not meant by `node.hostname==`, and is by `!=`.
    """

    expression: str
    key: str
    equal: bool
    value: str
    read: Callable[[Node], str]
    network: _Network | None = None

    def matches(self, node: Node) -> bool:
        if node.hostname_taken and self.hostname:
            return False
        found = self._contains(node) if self.network is not None else self._reads_same(node)
        return found == self.equal

    @property
    def wanted(self) -> tuple[str, str] | None:
        """The attribute and the value, folded, that all nodes have which match; None if it says no such thing."""
        return (self.key, self.value) if self.equal and self.network is None else None

    @property
    def hostname(self) -> str:
        """The host name, folded, that it wants; empty when it is about something else."""
        return self.value if self.equal and self.key.casefold() == _HOSTNAME else ""

    def _reads_same(self, node: Node) -> bool:
        return self.read(node).casefold() == self.value

    def _contains(self, node: Node) -> bool:
        assert self.network is not None
        try:
            return ipaddress.ip_address(node.status.addr) in self.network
        except ValueError:  # a node that has not said its address yet
            return False


@lru_cache(maxsize=4096)
def parse(expression: str) -> Constraint:
    """Read one expression. Remembered, as every task of a service brings the same ones.

    Raises:
        InvalidArgument: names the expression, what is wrong with it and what was expected.

    """
    found = _EXPRESSION.fullmatch(expression)
    if found is None:
        raise _invalid(expression, "expected KEY==VALUE or KEY!=VALUE, such as node.role==worker")
    key, operator, value = found["key"], found["operator"], found["value"]
    if not _VALUE.fullmatch(value):
        raise _invalid(expression, f"value {value!r} is empty or has characters that no constraint can match")
    if not _KEY.fullmatch(key) or not _is_known(key):
        raise _invalid(expression, f"unknown key {key!r}, expected one of {_KEYS}")
    network = _network(expression, value) if key.casefold() == "node.ip" else None
    return Constraint(expression, key, operator == "==", value.casefold(), reader(key), network)


def parse_all(expressions: Iterable[str]) -> tuple[Constraint, ...]:
    """Read all constraints of a placement; all must hold.

    Raises:
        InvalidArgument: as `parse`.

    """
    return tuple(map(parse, expressions))


def unmet(placement: Placement | None, node: Node) -> str:
    """Return the first constraint of a placement that `node` does not meet, or an empty string when it meets all."""
    return next((each for each in placement.constraints if not parse(each).matches(node)), "") if placement else ""


def _is_known(key: str) -> bool:
    folded = key.casefold()
    return folded in _ATTRIBUTES or any(
        folded.startswith(prefix) and len(folded) > len(prefix) for prefix in (_NODE_LABEL, _ENGINE_LABEL)
    )


def reader(key: str) -> Callable[[Node], str]:
    """Return what reads `key` of a node. The prefix ignores case, the label's own name does not (as in SwarmKit)."""
    folded = key.casefold()
    if folded.startswith(_NODE_LABEL):
        name = key[len(_NODE_LABEL) :]
        return lambda node: node.spec.labels.get(name, "")
    if folded.startswith(_ENGINE_LABEL):
        name = key[len(_ENGINE_LABEL) :]
        return lambda node: node.description.engine.labels.get(name, "")
    return _ATTRIBUTES[folded]


def _network(expression: str, value: str) -> _Network:
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise _invalid(expression, "expected an address or a range such as 10.0.0.0/24") from error


def _invalid(expression: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"invalid constraint {expression!r}: {problem}")
