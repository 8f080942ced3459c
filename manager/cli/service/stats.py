"""`swarm-manager service stats`: what services use, all tasks of each together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from common.ids import SHORT_ID
from common.text.quantities import human_size
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_services
from manager.cli.format.listing import format_flag
from manager.cli.format.tables import SHOW_SECONDS, UNKNOWN, Row, Table, natural, repaint
from manager.cli.session import with_client

STATS = Table(
    columns=("{{.Name}}", "{{.Tasks}}", "{{.CPU}}", "{{.Memory}}", "{{.Limit}}", "{{.Failures}}"),
    headings={
        "ID": "ID",
        "Name": "NAME",
        "Tasks": "TASKS",
        "CPU": "CPU",
        "Memory": "MEM",
        "Limit": "LIMIT",
        "Failures": "FAILURES/1H",
    },
    raw={"name": "Name", "tasks": "Tasks", "cpu": "CPU", "memory": "Memory", "limit": "Limit", "failures": "Failures"},
)
# A rate needs two measurements, ten seconds apart; a node that does not answer is not waited for longer.
_FIRST_SECONDS = 15.0
_LOOK_SECONDS = 1.0
_AT_ONCE = 16


@click.command(
    "stats",
    cls=SwarmCommand,
    examples="""
    swarm-manager service stats
    swarm-manager service stats --no-stream web
    """,
)
@click.argument("services", nargs=-1, metavar="[SERVICE...]", shell_complete=complete_services)
@format_flag()
@flag("--no-stream", is_flag=True, default=False, help="Show the usage once, and exit.")
@with_client
async def stats(client: Client, /, services: tuple[str, ...], layout: str, *, no_stream: bool) -> None:
    """Show what services use, by default all, until it is interrupted.

    Tasks are measured while somebody looks: the first numbers take up to ten seconds.
    """
    deadline = asyncio.get_running_loop().time() + _FIRST_SECONDS
    while True:
        overview, usages = await look(client, services)
        if not no_stream:
            repaint(STATS.render(rows(overview, usages), layout))
            await asyncio.sleep(SHOW_SECONDS)
        elif complete(overview, usages) or asyncio.get_running_loop().time() >= deadline:
            echo(STATS.render(rows(overview, usages), layout), nl=False)
            return
        else:
            await asyncio.sleep(_LOOK_SECONDS)


async def look(client: Client, services: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Ask for services' rows of the overview, and what each uses, which has it measured."""
    overview: list[Any] = []
    after = ""
    while True:
        page = await client.get("/swarm/overview/services", {"after": after} if after else None)
        overview += page["Services"]
        after = page.get("Next", "")
        if not after:
            break
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(reference: str) -> Any:
        async with gate:
            return await client.get(f"/services/{reference}/usage")

    usages = await asyncio.gather(*map(ask, services or [row["ID"] for row in overview]))
    return overview, list(usages)


def complete(overview: Sequence[Any], usages: Sequence[Any]) -> bool:
    """Whether as many tasks have been measured as run."""
    running = {row["ID"]: row.get("Running", 0) for row in overview}
    measured = {usage["ID"][:SHORT_ID]: sum("CPU" in task for task in usage.get("Tasks", ())) for usage in usages}
    return all(count >= running.get(service_id, 0) for service_id, count in measured.items())


def rows(overview: Sequence[Any], usages: Sequence[Any]) -> list[Row]:
    """Make the rows, by name."""
    known = {row["ID"]: row for row in overview}
    made = [_row(usage, known.get(usage["ID"][:SHORT_ID], {})) for usage in usages]
    return sorted(made, key=lambda row: natural(str(row["Name"])))


def _row(usage: Any, service: Any) -> Row:
    tasks = usage.get("Tasks", ())
    cpus = [task["CPU"] for task in tasks if "CPU" in task]
    memory = [task["Memory"] for task in tasks if "Memory" in task]
    limit = usage.get("MemoryLimit", 0)
    return {
        "ID": usage["ID"],
        "Name": usage["Name"],
        "Tasks": f"{service.get('Running', 0)}/{service.get('Desired', 0)}",
        "CPU": f"{sum(cpus):.2f}" if cpus else UNKNOWN,
        "Memory": human_size(sum(memory)) if memory else UNKNOWN,
        "Limit": human_size(limit * len(memory)) if limit and memory else UNKNOWN,
        "Failures": str(service.get("Failures", 0)),
    }
