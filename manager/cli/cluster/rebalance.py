"""`swarm-manager cluster rebalance` and `service rebalance`: tasks are moved until they are spread evenly."""

from __future__ import annotations

from typing import Any

import click

from common.text.terminal import echo, one_line
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_services
from manager.cli.format.tables import align
from manager.cli.progress.converge import MAX_INTERVAL
from manager.cli.progress.event_feed import event_feed
from manager.cli.session import with_client

_DRY = flag("--dry-run", is_flag=True, default=False, help="Print which tasks would move, and move none.")
_DETACH = flag("-d", "--detach", is_flag=True, default=False, help="Return at once instead of waiting for the moves.")


@click.command(
    "rebalance",
    cls=SwarmCommand,
    examples="""
    swarm-manager cluster rebalance --dry-run
    swarm-manager cluster rebalance
    """,
)
@_DRY
@_DETACH
@with_client
async def rebalance_cluster(client: Client, /, *, dry_run: bool, detach: bool) -> None:
    """Move tasks until all services are spread evenly, a few at a time, each replaced before it stops."""
    await _rebalance(client, "/swarm/rebalance", dry_run=dry_run, detach=detach)


@click.command(
    "rebalance",
    cls=SwarmCommand,
    examples="""
    swarm-manager service rebalance --dry-run web
    swarm-manager service rebalance web
    """,
)
@click.argument("reference", metavar="SERVICE", shell_complete=complete_services)
@_DRY
@_DETACH
@with_client
async def rebalance_service(client: Client, /, reference: str, *, dry_run: bool, detach: bool) -> None:
    """Move a service's tasks until they are spread evenly, one at a time, each replaced before it stops."""
    await _rebalance(client, f"/services/{reference}/rebalance", dry_run=dry_run, detach=detach)


async def _rebalance(client: Client, path: str, *, dry_run: bool, detach: bool) -> None:
    if dry_run:
        _show((await client.post(path, None, {"dryRun": "1"}))["Moves"])
        return
    names = set((await client.post(path, None))["Services"])
    if not detach:
        await _until_even(client, names)


def _show(moves: list[dict[str, Any]]) -> None:
    if not moves:
        echo("Nothing to move: the load is as even as it can be.")
        return
    rows = [(f"{move['ServiceName']}.{move['Slot']}", move["From"], move["To"]) for move in moves]
    echo(align("\n".join("\t".join(map(one_line, row)) for row in (("TASK", "FROM", "TO"), *rows))))


async def _until_even(client: Client, names: set[str]) -> None:
    async with event_feed(client) as feed:
        while names & set((await client.get("/swarm/rebalance"))["Services"]):
            await feed.changed(feed.count, MAX_INTERVAL)
