"""Containers in a table: as `docker ps` shows them, and on which node each is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manager.cli.format.tables import Row, Table
from manager.cli.format.wording import ago, natural, pairs, short_id, shortened

NODE_LABEL = "swarm.x.node"
_COMMAND_WIDTH = 20

CONTAINERS = Table(
    columns=(
        "{{.ID}}",
        "{{.Image}}",
        "{{.Command}}",
        "{{.RunningFor}}",
        "{{.Status}}",
        "{{.Ports}}",
        "{{.Node}}",
        "{{.Names}}",
    ),
    headings={
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "CreatedAt": "CREATED AT",
        "RunningFor": "CREATED",
        "State": "STATE",
        "Status": "STATUS",
        "Ports": "PORTS",
        "Node": "NODE",
        "Names": "NAMES",
        "Labels": "LABELS",
    },
    raw={
        "container_id": "ID",
        "image": "Image",
        "command": "Command",
        "created_at": "CreatedAt",
        "state": "State",
        "status": "Status",
        "ports": "Ports",
        "node": "Node",
        "names": "Names",
    },
)


def rows(containers: Iterable[Any], now: float, *, no_trunc: bool) -> list[Row]:
    """Make the rows from the answer of /containers/json, in its order."""
    return [_row(each, now, no_trunc=no_trunc) for each in containers]


def _row(each: Any, now: float, *, no_trunc: bool) -> Row:
    labels = dict(each.get("Labels") or {})
    node = labels.pop(NODE_LABEL, "")
    command = each["Command"] if no_trunc else shortened(each["Command"], _COMMAND_WIDTH)
    return {
        "ID": each["Id"] if no_trunc else short_id(each["Id"]),
        "Image": each["Image"],
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(each["Created"])),
        "RunningFor": ago(each["Created"], now),
        "State": each["State"],
        "Status": each["Status"],
        "Ports": ", ".join(sorted({_port(port) for port in each.get("Ports") or ()})),
        "Node": node,
        "Names": ",".join(name.removeprefix("/") for name in each.get("Names") or ()),
        "Labels": pairs(labels),
    }


def _port(port: Mapping[str, Any]) -> str:
    target = f"{port['PrivatePort']}/{port['Type']}"
    if not port.get("PublicPort"):
        return target
    address = port.get("IP", "")
    where = f"[{address}]" if ":" in address else address
    return f"{where}:{port['PublicPort']}->{target}"


def port_lines(ports: Mapping[str, Sequence[Mapping[str, str]] | None], private: str | None) -> list[str]:
    """Write what `NetworkSettings.Ports` publishes: `80/tcp -> 0.0.0.0:8080`, only the addresses of one port."""
    wanted = private if private is None or "/" in private else f"{private}/tcp"
    lines = []
    for target in sorted(ports, key=natural):
        for binding in ports[target] or ():
            address = binding["HostIp"]
            where = f"{f'[{address}]' if ':' in address else address}:{binding['HostPort']}"
            if wanted is None:
                lines.append(f"{target} -> {where}")
            elif target == wanted:
                lines.append(where)
    return lines
