"""`swarm-manager timeline`: what happened in the cluster, or to one object of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import click

from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_services
from manager.cli.format.tables import Row, Table, format_flag
from manager.cli.session import with_client

ENTRIES = Table(
    columns=("{{.Time}}", "{{.By}}", "{{.What}}"),
    headings={"ID": "ID", "Time": "TIME", "Kind": "KIND", "Level": "LEVEL", "By": "BY", "What": "WHAT"},
    raw={"id": "ID", "time": "Time", "kind": "Kind", "level": "Level", "by": "By", "what": "What"},
)
TOPICS = ("tasks", "nodes", "services", "objects", "people")
_PAGE = 200
_FEED = "/swarm/overview/feed"


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager timeline
    swarm-manager timeline --topic people --last 20
    swarm-manager timeline shop_api
    swarm-manager timeline --follow w1
    """,
)
@click.argument("reference", metavar="[OBJECT]", default="", shell_complete=complete_services)
@flag("--last", "-n", type=click.IntRange(min=1), default=50, help="How many entries to show (default 50).")
@flag("--topic", words=TOPICS, default="", help=f"Show one topic alone: {', '.join(TOPICS)}.")
@flag("--follow", "-f", switch=True, help="Go on with what happens from now on.")
@format_flag()
@with_client
async def timeline(client: Client, /, reference: str, last: int, topic: str, layout: str, *, follow: bool) -> None:
    """Show what happened: who changed what, which tasks failed where and why, how updates ended.

    The newest is last. OBJECT is the name or id of a service, task, node, stack, network, secret or config. The manager
    remembers the last 5,000 entries, and of the time before its start what the store and its audit log still tell.
    """
    query = {name: value for name, value in (("object", reference), ("topic", topic)) if value}
    entries = await last_entries(client, query, last)
    newest = max((int(entry["ID"]) for entry in entries), default=0)
    echo(ENTRIES.render([row(entry) for entry in reversed(entries)], layout), nl=False)
    if not follow:
        return
    async with aclosing(new_entries(client, query, newest)) as following:
        async for entry in following:
            echo(ENTRIES.render([row(entry)], layout or "{{.Time}}  {{.By}}  {{.What}}"), nl=False)


async def last_entries(client: Client, query: Mapping[str, str], count: int) -> list[Any]:
    """Return the last so many entries, the newest first."""
    entries: list[Any] = []
    before = ""
    while len(entries) < count:
        limit = str(min(_PAGE, count - len(entries)))
        page = await client.get("/swarm/timeline", {**query, "limit": limit, **({"before": before} if before else {})})
        entries += page["Entries"]
        before = str(page.get("Next", ""))
        if not before:
            break
    return entries


async def new_entries(client: Client, query: Mapping[str, str], newest: int) -> AsyncGenerator[Any, None]:
    """Yield entries as they come, the oldest first, from the one after `newest` on."""
    async with client.stream(_FEED, {"topics": "timeline"}) as lines:
        async for line in lines:
            if not line.startswith(b"data:"):
                continue  # what is new is asked for with the same filters, whatever an event says
            fresh = [entry for entry in await last_entries(client, query, _PAGE) if int(entry["ID"]) > newest]
            for entry in reversed(fresh):
                newest = int(entry["ID"])
                yield entry


def row(entry: Mapping[str, Any]) -> Row:
    """Make the row of an entry."""
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["At"]))
    return {
        "ID": str(entry["ID"]),
        "Time": local,
        "Kind": entry["Kind"],
        "Level": entry.get("Level", "info"),
        "By": entry.get("By", ""),
        "What": entry["Text"],
    }
