"""What compose files and Docker's command line write in one text: volumes, ports, devices and GPUs.

A volume is `[SOURCE:]TARGET[:OPTIONS]`; a port is `[ADDRESS:][PUBLISHED:]TARGET[/PROTOCOL]`, where both numbers may be
ranges; GPUs are as in docker/cli `opts/gpus.go`.
"""

from __future__ import annotations

import csv
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from common.model.engine_options import ALL_DEVICES, CDI_DRIVER, Device, DeviceRequest
from manager.cli.compose.rules import Cursor, Rule
from manager.cli.compose.scalars import text_of
from manager.cli.compose.shapes import refuse_repetitions

PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
_DRIVE = re.compile(r"[A-Za-z]:\\")
_MAX_PARTS = 3
# Two between parts, and one in each path of Windows.
_MAX_COLONS = 4


def parse_volume(text: str) -> dict[str, Any]:
    """Expand one entry into the long form. Raises ValueError.

    A source that begins with `.`, `/`, `~` or a Windows drive is a bind mount, any other a named volume, none an
    anonymous one. As in Docker, options that mean nothing here (`z`, `delegated`, …) are ignored.
    """
    if not text:
        raise ValueError("it is empty")
    if text.count(":") > _MAX_COLONS:
        raise ValueError("there are too many colons")
    parts = _sections(text)
    if "" in parts:
        raise ValueError("a section between colons is empty")
    if len(parts) > _MAX_PARTS:
        raise ValueError("there are too many colons")
    if len(parts) == 1:
        return {"type": "volume", "target": parts[0]}
    source, target = parts[0], parts[1]
    entry = {"type": "bind" if _is_path(source) else "volume", "source": source, "target": target}
    return {**entry, **_options(parts[2].split(",") if len(parts) == _MAX_PARTS else [])}


def _sections(text: str) -> list[str]:
    parts: list[str] = []
    rest = text
    while True:
        skip = 2 if _DRIVE.match(rest) else 0
        colon = rest.find(":", skip)
        if colon < 0:
            return [*parts, rest]
        parts.append(rest[:colon])
        rest = rest[colon + 1 :]


def _is_path(source: str) -> bool:
    return source[0] in "./~" or source.startswith("\\\\") or bool(_DRIVE.match(source))


def _options(options: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for option in options:
        if option in ("ro", "rw"):
            out["read_only"] = option == "ro"
        elif option == "nocopy":
            out["volume"] = {"nocopy": True}
        elif option in PROPAGATIONS:
            out["bind"] = {"propagation": option}
    return out


@dataclass(frozen=True, slots=True)
class ServiceVolume(Rule):
    """One entry of `volumes`; `long` reads the long form."""

    long: Rule
    expected: str = 'a string such as "data:/var/lib/data:ro", or a mapping'

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, dict):
            return self.long.read(value, at)
        if not isinstance(value, str):
            return at.expect(self.expected, value)
        try:
            entry = parse_volume(str(value))
        except ValueError as error:
            return at.fail(f'"{value}" is not a volume: {error}')
        return self.long.read(entry, at)


PROTOCOLS = ("tcp", "udp", "sctp")
MODES = ("ingress", "host")
_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")
MAX_PORT = 65535
# All ports of all protocols.
_MAX_ENTRIES = 3 * MAX_PORT


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
        entries: list[Any] = []
        for index, item in enumerate(value):
            entries += self._entries(item, at / index)
            if len(entries) > _MAX_ENTRIES:
                return (at / index).fail(f"the service publishes more than {_MAX_ENTRIES} ports")
        return entries

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


_CDI = re.compile(r"[A-Za-z][\w.-]*/[A-Za-z][\w-]*=[A-Za-z0-9][\w.:-]*")
_PERMISSIONS = re.compile(r"[rwm]{1,3}")
_GPU = "gpu"


def parse_device(text: str) -> Device | DeviceRequest:
    """Read `HOST[:CONTAINER][:rwm]`, or the name of a CDI device, `vendor.com/class=name`.

    Raises:
        ValueError: it is neither.

    """
    if _CDI.fullmatch(text):
        return DeviceRequest(driver=CDI_DRIVER, device_ids=(text,))
    parts = text.split(":")
    if len(parts) > _MAX_PARTS or not parts[0].startswith("/"):
        raise ValueError(f'"{text}" is not a device: expected HOST[:CONTAINER][:rwm] or vendor/class=name')
    permissions = parts.pop() if len(parts) > 1 and _PERMISSIONS.fullmatch(parts[-1]) else "rwm"
    inside = parts[1] if len(parts) > 1 else parts[0]
    if not inside.startswith("/") or len(parts) == _MAX_PARTS:
        raise ValueError(f'"{text}" is not a device: permissions are some of r, w and m, paths are absolute')
    return Device(path_on_host=parts[0], path_in_container=inside, cgroup_permissions=permissions)


def parse_gpus(text: str) -> DeviceRequest:
    """Read `all`, a number, or `driver=…,count=…,"device=0,1","capabilities=…"` as `docker run --gpus` does.

    Raises:
        ValueError: an unknown name, no number, or both a count and devices.

    """
    found: dict[str, str] = {}
    for field in next(csv.reader([text])):
        name, equals, value = field.partition("=")
        if not equals:
            name, value = "count", field
        if name not in ("driver", "count", "device", "capabilities") or name in found:
            raise ValueError(f'"{field}": expected all, a number, driver=, count=, device= or capabilities=, each once')
        found[name] = value
    devices = tuple(found["device"].split(",")) if "device" in found else ()
    if devices and "count" in found:
        raise ValueError("count and device cannot both be given")
    capabilities = dict.fromkeys((_GPU, *filter(None, found.get("capabilities", "").split(","))))
    return DeviceRequest(
        driver=found.get("driver", ""),
        count=0 if devices else parse_count(found.get("count", "1")),
        device_ids=devices,
        capabilities=(tuple(capabilities),),
    )


def parse_count(text: str) -> int:
    """Read a number of devices; `all` is -1.

    Raises:
        ValueError: it is neither.

    """
    if text in ("all", str(ALL_DEVICES)):
        return ALL_DEVICES
    if not text.isdecimal():
        raise ValueError(f'"{text}" is not a count: expected all or a number')
    return int(text)
