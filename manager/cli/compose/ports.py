"""The short syntax of `ports`: `[ADDRESS:][PUBLISHED:]TARGET[/PROTOCOL]`, where both numbers may be ranges."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from manager.cli.compose.rules import Cursor, Rule
from manager.cli.compose.scalars import text_of
from manager.cli.compose.shapes import refuse_repetitions

PROTOCOLS = ("tcp", "udp", "sctp")
MODES = ("ingress", "host")
_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")
MAX_PORT = 65535


def parse_port(text: str) -> list[dict[str, Any]]:
    """Expand one entry into long entries, as many as its ranges hold. Raises ValueError.

    As in Docker, a range published for one target publishes that target on every port of the range, and the entries of
    a range are ordered by target as text. Unlike Docker's, an address is kept, as `host_ip`.
    """
    rest, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"the protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    address, published, target = _split(rest)
    if not target:
        raise ValueError("no port is given")
    targets = _range(target)
    sources = _range(published) if published else []
    pairs = _pair(targets, sources)
    return [_entry(pair, protocol, address) for pair in sorted(pairs, key=lambda pair: str(pair[0]))]


def _split(text: str) -> tuple[str, str, str]:
    before, _, target = text.rpartition(":")
    address, _, published = before.rpartition(":")
    return _address(address), published, target


def _address(text: str) -> str:
    if not text:
        return ""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if (":" in bare) != (bare is not text):
        raise ValueError(f"{text!r} is not an IP address (put IPv6 in brackets)")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


def _range(text: str) -> list[int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a port or a range of ports")
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if last < first or last > MAX_PORT:
        raise ValueError(f"{text!r} is not a range of ports from 0 to {MAX_PORT}")
    return list(range(first, last + 1))


def _pair(targets: list[int], published: list[int]) -> list[tuple[int, int]]:
    if not published:
        return [(target, 0) for target in targets]
    if len(targets) == 1:
        return [(targets[0], port) for port in published]
    if len(targets) != len(published):
        raise ValueError(f"{len(published)} published ports for {len(targets)} targets")
    return list(zip(targets, published, strict=True))


def _entry(pair: tuple[int, int], protocol: str, address: str) -> dict[str, Any]:
    target, published = pair
    entry = {"mode": "ingress", "target": target, "published": published, "protocol": protocol, "host_ip": address}
    return {name: value for name, value in entry.items() if value}


@dataclass(frozen=True, slots=True)
class Ports(Rule):
    """The list of `ports`; `long` reads an entry of the long form."""

    long: Rule
    expected: str = "a list of ports"

    def read(self, value: Any, at: Cursor) -> Any:
        if not isinstance(value, list):
            return at.expect(self.expected, value)
        refuse_repetitions(value, at)
        return [entry for index, item in enumerate(value) for entry in self._entries(item, at / index)]

    def _entries(self, item: Any, at: Cursor) -> list[Any]:
        if isinstance(item, dict):
            return [self.long.read(item, at)]
        if isinstance(item, bool | float | list | None):
            at.expect('a port such as 80, "8080:80" or "127.0.0.1:8080:80/udp", or a mapping', item)
            return []
        try:
            entries = parse_port(text_of(item))
        except ValueError as error:
            at.fail(f'"{item}" is not a port mapping: {error}')
            return []
        if not entries[0].get("target"):
            at.fail(f'"{item}" is not a port mapping: the target port must be from 1 to {MAX_PORT}')
        return entries


def same_port(entry: dict[str, Any]) -> tuple[Any, ...]:
    """Name what an entry publishes: an override's port takes the place of what the same public port led to before."""
    published = entry.get("published", 0)
    protocol = entry.get("protocol", "tcp")
    return (published, protocol, entry.get("host_ip", "")) if published else (0, protocol, entry.get("target"))


def port_order(entry: dict[str, Any]) -> tuple[int, int, str]:
    return entry.get("published", 0), entry.get("target", 0), entry.get("protocol", "")
