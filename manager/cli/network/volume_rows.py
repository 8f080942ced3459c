"""Volumes as rows: which node has each, and how other commands name it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from common.text.quantities import human_decimal
from manager.cli.container.rows import NODE_LABEL
from manager.cli.format.tables import Row, Table, natural, pairs

_UNKNOWN = "N/A"

VOLUMES = Table(
    columns=("{{.Name}}", "{{.Node}}", "{{.UsedBy}}", "{{.Size}}", "{{.State}}"),
    headings={
        "Driver": "DRIVER",
        "Node": "NODE",
        "Name": "VOLUME NAME",
        "Scope": "SCOPE",
        "Mountpoint": "MOUNTPOINT",
        "Labels": "LABELS",
        "Availability": "AVAILABILITY",
        "Group": "GROUP",
        "Links": "LINKS",
        "Size": "SIZE",
        "Status": "STATUS",
        "UsedBy": "USED BY",
        "State": "STATE",
    },
    raw={"name": "Name", "driver": "Driver", "node": "Node"},
    key="Reference",
)


def rows(volumes: Iterable[Any]) -> list[Row]:
    """Make the rows by name and node. `Reference` is what other commands take: `NODE/NAME` where several have it."""
    volumes = sorted(volumes, key=lambda each: (natural(each["Name"]), natural(_node(each))))
    count = Counter(each["Name"] for each in volumes)
    return [_row(each, alone=count[each["Name"]] == 1) for each in volumes]


def _node(volume: Any) -> str:
    return str((volume.get("Labels") or {}).get(NODE_LABEL, ""))


def _row(each: Any, *, alone: bool) -> Row:
    node = _node(each)
    labels = {name: value for name, value in (each.get("Labels") or {}).items() if name != NODE_LABEL}
    usage = each.get("UsageData")
    status = each.get("Status") or {}
    return {
        "Driver": each["Driver"],
        "Node": node,
        "Name": each["Name"],
        "Scope": each["Scope"],
        "Mountpoint": each["Mountpoint"],
        "Labels": pairs(labels),
        **dict.fromkeys(("Availability", "Group", "Status"), _UNKNOWN),  # of cluster volumes (CSI), which there are not
        "Links": _UNKNOWN if usage is None else str(usage["RefCount"]),
        "Size": _UNKNOWN if usage is None else human_decimal(usage["Size"], 4),
        "UsedBy": str(status.get("UsedBy", "")),
        "State": str(status.get("State", "")),
        "Reference": each["Name"] if alone else f"{node}/{each['Name']}",
    }
