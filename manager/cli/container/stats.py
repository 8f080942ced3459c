"""What containers use, in a table, with the arithmetic of `docker stats`."""

from __future__ import annotations

from typing import Any

from manager.cli.format.tables import Row, Table, short_id

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
        "Container": "CONTAINER",
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


def row(stats: Any, reference: str, *, no_trunc: bool = False) -> Row:
    """Make the row of one answer of /containers/{id}/stats, which has the sample before in `precpu_stats`.

    `reference` is what the container was asked for by.
    """
    memory = stats.get("memory_stats") or {}
    used = _memory_usage(int(memory.get("usage") or 0), memory.get("stats") or {})
    limit = int(memory.get("limit") or 0)
    networks = (stats.get("networks") or {}).values()
    received, sent = (sum(each[key] for each in networks) for key in ("rx_bytes", "tx_bytes"))
    blocks = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read, written = (sum(b["value"] for b in blocks if b["op"].lower().startswith(way)) for way in ("r", "w"))
    return {
        "Container": reference,
        "ID": stats["id"] if no_trunc else short_id(stats["id"]),
        "Name": stats["name"].removeprefix("/"),
        "CPUPerc": f"{cpu_percent(stats):.2f}%",
        "MemUsage": f"{size(used, 1024, _BINARY)} / {size(limit, 1024, _BINARY)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{_format_bytes(received)} / {_format_bytes(sent)}",
        "BlockIO": f"{_format_bytes(read)} / {_format_bytes(written)}",
        "PIDs": str((stats.get("pids_stats") or {}).get("current") or 0),
    }


def unknown(reference: str, *, no_trunc: bool = False) -> Row:
    """Return the row of a container without a sample: there is none yet, or it no longer runs."""
    named = {"Container": reference, "ID": reference if no_trunc else short_id(reference), "MemUsage": "-- / --"}
    return {name: named.get(name, "--") for name in STATS.headings}


def _memory_usage(usage: int, stats: Any) -> int:
    """Return what is in use, without the page cache's part that may be given back (of cgroup version 1, or 2)."""
    for name in ("total_inactive_file", "inactive_file"):
        if 0 <= int(stats.get(name, -1)) < usage:
            return usage - int(stats[name])
    return usage


def _format_bytes(number: float) -> str:
    return size(number, 1000, _DECIMAL, digits=3)


def cpu_percent(stats: Any) -> float:
    """Return the share of one core that was used between two samples, in percent."""
    now, before = stats.get("cpu_stats") or {}, stats.get("precpu_stats") or {}
    used = now["cpu_usage"]["total_usage"] - (before.get("cpu_usage") or {}).get("total_usage", 0)
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    cores = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ())
    return float(used / passed * cores * 100)


def in_thousands(number: float) -> str:
    """Write a number of bytes as Docker does where disks are meant: `1.234GB`."""
    return size(number, 1000, _DECIMAL)


def size(number: float, step: int, units: tuple[str, ...], digits: int = 4) -> str:
    """Write a number of bytes with so many digits: `1.234GiB`."""
    for unit in units[:-1]:
        if number < step:
            return f"{number:.{digits}g}{unit}"
        number /= step
    return f"{number:.{digits}g}{units[-1]}"
