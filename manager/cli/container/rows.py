"""Containers in a table: as `docker ps` shows them, and on which node each is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from common.text.image_names import is_id
from common.text.quantities import human_decimal
from manager.cli.format.tables import Row, Table, ago, natural, pairs, short_id, shorten

NODE_LABEL = "swarm.x.node"
_COMMAND_WIDTH = 20
_MOUNT_WIDTH = 15

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
        "LocalVolumes": "LOCAL VOLUMES",
        "Mounts": "MOUNTS",
        "Networks": "NETWORKS",
        "Size": "SIZE",
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
WITH_SIZES = replace(CONTAINERS, columns=(*CONTAINERS.columns, "{{.Size}}"), raw={**CONTAINERS.raw, "size": "Size"})


def rows(containers: Iterable[Any], now: float, *, no_trunc: bool) -> list[Row]:
    """Make the rows from the answer of /containers/json, in its order."""
    return [_row(each, now, no_trunc=no_trunc) for each in containers]


def _row(each: Any, now: float, *, no_trunc: bool) -> Row:
    labels = dict(each.get("Labels") or {})
    node = labels.pop(NODE_LABEL, "")
    mounts = each.get("Mounts") or ()
    command = each["Command"] if no_trunc else shorten(each["Command"], _COMMAND_WIDTH)
    return {
        "ID": each["Id"] if no_trunc else short_id(each["Id"]),
        "Image": each["Image"] if no_trunc else _image(each),
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(each["Created"])),
        "RunningFor": ago(each["Created"], now),
        "State": each["State"],
        "Status": each["Status"],
        "Ports": ", ".join(sorted({_port(port) for port in each.get("Ports") or ()})),
        "Node": node,
        "Names": ",".join(name.removeprefix("/") for name in each.get("Names") or ()),
        "Labels": pairs(labels),
        "LocalVolumes": str(sum(mount.get("Driver") == "local" for mount in mounts)),
        "Mounts": ",".join(name if no_trunc else shorten(name, _MOUNT_WIDTH) for name in map(_mount, mounts)),
        "Networks": ",".join((each.get("NetworkSettings") or {}).get("Networks") or {}),
        "Size": _size(each.get("SizeRw") or 0, each.get("SizeRootFs") or 0),
    }


def _image(each: Any) -> str:
    """Name a container's image without a digest; one that has no name by the beginning of its id."""
    image: str = each["Image"]
    return short_id(image.removeprefix("sha256:")) if is_id(image) else image.partition("@")[0]


def _mount(mount: Mapping[str, str]) -> str:
    return mount.get("Name") or mount.get("Source", "")


def _size(own: int, whole: int) -> str:
    """Say how much a container has written, and how large it is with its image, which engines say only if asked."""
    return human_decimal(own) + (f" (virtual {human_decimal(whole)})" if whole > 0 else "")


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
