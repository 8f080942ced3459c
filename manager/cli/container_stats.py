"""What a container uses, in a table, as `docker stats --no-stream` shows it."""

from __future__ import annotations

from typing import Any

from manager.cli.rows import Row, Table
from manager.cli.wording import short_id

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")

STATS = Table(
    columns=(
        "{{.ID}}",
        "{{.Name}}",
        "{{.CPUPerc}}",
        "{{.MemUsage}}",
        "{{.MemPerc}}",
        "{{.NetIO}}",
        "{{.BlockIO}}",
        "{{.PIDs}}",
    ),
    headings={
        "ID": "CONTAINER ID",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
)


def row(stats: Any) -> Row:
    """Make the row of one answer of /containers/{id}/stats, which has the sample before in `precpu_stats`."""
    memory = stats.get("memory_stats") or {}
    used = int(memory.get("usage") or 0) - _cache(memory.get("stats") or {})
    limit = int(memory.get("limit") or 0)
    networks = (stats.get("networks") or {}).values()
    received, sent = (sum(each[key] for each in networks) for key in ("rx_bytes", "tx_bytes"))
    blocks = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read, written = (sum(b["value"] for b in blocks if b["op"].lower() == way) for way in ("read", "write"))
    return {
        "ID": short_id(stats["id"]),
        "Name": stats["name"].removeprefix("/"),
        "CPUPerc": f"{cpu_percent(stats):.2f}%",
        "MemUsage": f"{size(used, 1024, _BINARY)} / {size(limit, 1024, _BINARY)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{size(received, 1000, _DECIMAL)} / {size(sent, 1000, _DECIMAL)}",
        "BlockIO": f"{size(read, 1000, _DECIMAL)} / {size(written, 1000, _DECIMAL)}",
        "PIDs": (stats.get("pids_stats") or {}).get("current") or 0,
    }


def _cache(stats: Any) -> int:
    """Return what the page cache may give back: it is not counted as used."""
    return int(stats.get("total_inactive_file") or stats.get("inactive_file") or 0)


def cpu_percent(stats: Any) -> float:
    """Return the share of one core that was used between two samples, in percent."""
    now, before = stats.get("cpu_stats") or {}, stats.get("precpu_stats") or {}
    used = now["cpu_usage"]["total_usage"] - (before.get("cpu_usage") or {}).get("total_usage", 0)
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    return float(used / passed * (now.get("online_cpus") or 1) * 100)


def in_thousands(number: float) -> str:
    """Write a number of bytes as Docker does where disks are meant: `1.234GB`."""
    return size(number, 1000, _DECIMAL)


def size(number: float, step: int, units: tuple[str, ...]) -> str:
    """Write a number of bytes with four digits: `1.234GiB`."""
    for unit in units[:-1]:
        if number < step:
            return f"{number:.4g}{unit}"
        number /= step
    return f"{number:.4g}{units[-1]}"
