"""`swarm-manager volume transfers` and `volume cancel`: moves and copies under way, and how the last ones ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import click

from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand
from manager.cli.format.listing import format_flag, quiet_flag
from manager.cli.format.tables import Row, Table
from manager.cli.network.volume_copies import DONE, progress
from manager.cli.session import with_client
from manager.cli.several import each

TRANSFERS = Table(
    columns=("{{.ID}}", "{{.Kind}}", "{{.Volumes}}", "{{.From}}", "{{.To}}", "{{.State}}"),
    headings={
        "ID": "ID",
        "Kind": "KIND",
        "Volumes": "VOLUMES",
        "From": "FROM",
        "To": "TO",
        "State": "STATE",
    },
)
_ENDED = ("done", "failed")


@click.command("transfers", cls=SwarmCommand, examples="swarm-manager volume transfers")
@format_flag()
@quiet_flag()
@with_client
async def list_transfers(client: Client, /, layout: str, *, quiet: bool) -> None:
    """List moves and copies of volumes: those under way, then the last ones that have ended."""
    echo(TRANSFERS.render(rows(await client.get("/swarm/transfers")), layout, quiet=quiet), nl=False)


@click.command(
    "cancel",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume cancel 2wxfp81kk3427ob4vfdblrkwq
    swarm-manager volume transfers --quiet   # lists the IDs
    """,
)
@click.argument("transfers", nargs=-1, required=True, metavar="TRANSFER...")
@with_client
async def cancel(client: Client, /, transfers: tuple[str, ...]) -> None:
    """End one or more moves or copies that are under way: their tasks go on where they are."""
    await each(transfers, lambda transfer: client.delete(f"/swarm/transfers/{quote(transfer, safe='')}"))


def rows(transfers: Iterable[Any]) -> list[Row]:
    """Make the rows: what is under way comes first."""
    return [_row(each) for each in sorted(transfers, key=lambda each: each["Phase"] in _ENDED)]


def _row(transfer: Any) -> Row:
    named = f"/{transfer['Name']}" if transfer["Kind"] == "copy" else ""
    return {
        "ID": transfer["ID"],
        "Kind": transfer["Kind"],
        "Volumes": ", ".join(transfer["Volumes"]),
        "From": transfer["From"],
        "To": f"{transfer['To']}{named}" if transfer["To"] else "",
        "State": _state(transfer),
    }


def _state(transfer: Any) -> str:
    match transfer["Phase"]:
        case "failed":
            return f"failed: {transfer['Error']}"
        case "done":
            return f"{DONE[transfer['Kind']]}{': ' if transfer['Note'] else ''}{transfer['Note']}"
    return progress(transfer)
