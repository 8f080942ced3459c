"""`swarm-manager node stats`: what hosts use."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import click

from common.ids import SHORT_ID
from common.text.quantities import human_size
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_nodes
from manager.cli.failures import CommandFailed
from manager.cli.format.listing import format_flag
from manager.cli.format.tables import SHOW_SECONDS, UNKNOWN, Row, Table, natural, repaint
from manager.cli.session import with_client

STATS = Table(
    columns=(
        *("{{.Name}}", "{{.Tasks}}", "{{.CPU}}", "{{.Memory}}", "{{.Limit}}", "{{.Disk}}"),
        *("{{.Pressure}}", "{{.Reserved}}", "{{.Failures}}"),
    ),
    headings={
        "ID": "ID",
        "Name": "NAME",
        "State": "STATE",
        "Tasks": "TASKS",
        "CPU": "CPU",
        "Memory": "MEM",
        "Limit": "OF",
        "Disk": "DISK",
        "Pressure": "PRESSURE",
        "Reserved": "RESERVED",
        "Failures": "FAILURES/1H",
    },
    raw={"name": "Name", "tasks": "Tasks", "cpu": "CPU", "memory": "Memory", "disk": "Disk", "failures": "Failures"},
)


@click.command(
    "stats",
    cls=SwarmCommand,
    examples="""
    swarm-manager node stats
    swarm-manager node stats --no-stream w1 w2
    """,
)
@click.argument("nodes", nargs=-1, metavar="[NODE...]", shell_complete=complete_nodes)
@format_flag()
@flag("--no-stream", is_flag=True, default=False, help="Show the usage once, and exit.")
@with_client
async def stats(client: Client, /, nodes: tuple[str, ...], layout: str, *, no_stream: bool) -> None:
    """Show what nodes' hosts use, by default all, until it is interrupted.

    CPU is the share of all cores; DISK is of where the engine keeps its data; PRESSURE is the share of time in which
    something waited for cores, memory or disk; RESERVED is what tasks are sure to get, of cores and of memory.
    """
    while True:
        text = STATS.render(rows((await client.get("/swarm/overview/nodes"))["Nodes"], nodes), layout)
        if no_stream:
            echo(text, nl=False)
            return
        repaint(text)
        await asyncio.sleep(SHOW_SECONDS)


def rows(tiles: Sequence[Any], wanted: Collection[str]) -> list[Row]:
    """Make the rows of the nodes that are wanted, by name or id; of all where none is named.

    Raises:
        CommandFailed: one of them is not there.

    """
    there = {name for tile in tiles for name in (tile["ID"], tile["Name"])}
    names = {each if each in there else each[:SHORT_ID]: each for each in wanted}
    if missing := [name for known, name in names.items() if known not in there]:
        raise CommandFailed("\n".join(f"no such node: {name}" for name in missing))
    found = [tile for tile in tiles if not names or tile["ID"] in names or tile["Name"] in names]
    return sorted(map(_row, found), key=lambda row: natural(str(row["Name"])))


def _row(tile: Any) -> Row:
    disk = tile.get("Disk", 0)
    measured = "MemoryUsed" in tile
    return {
        "ID": tile["ID"],
        "Name": tile["Name"],
        "State": tile["State"],
        "Tasks": str(tile.get("Tasks", {}).get("running", 0)),
        "CPU": _share(tile["CPU"]) if "CPU" in tile else UNKNOWN,
        "Memory": human_size(tile["MemoryUsed"]) if measured else UNKNOWN,
        "Limit": human_size(tile.get("Memory", 0)),
        "Disk": _share(tile.get("DiskUsed", 0) / disk) if disk else UNKNOWN,
        "Pressure": _share(tile.get("Pressure", 0.0)) if measured else UNKNOWN,
        "Reserved": f"{_part(tile, 'ReservedCores', 'Cores')} / {_part(tile, 'ReservedMemory', 'Memory')}",
        "Failures": str(tile.get("Failures", 0)),
    }


def _part(tile: Any, part: str, whole: str) -> str:
    return _share(tile.get(part, 0) / tile[whole]) if tile.get(whole) else UNKNOWN


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"
