"""`swarm-manager events` and `timeline`: what happens in the cluster, and what has, to all or to one object of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import click

from common.clock import parse_rfc3339
from common.errors import InvalidArgument
from common.text.quantities import parse_duration
from common.text.terminal import echo, one_line
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_services
from manager.cli.format.listing import filter_flag, format_flag, group_filters
from manager.cli.format.tables import Row, Table
from manager.cli.session import with_client

_NANO = 1_000_000_000


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager events --filter type=service
    swarm-manager events --since 10m --until 0s --format json
    """,
)
@filter_flag()
@format_flag(help="A Go template or json.")
@flag(
    "--since",
    metavar="STRING",
    help="Show all events since a time (2026-01-31T12:00:00Z) or a duration before now (10m).",
)
@flag("--until", metavar="STRING", help="Stop at this time.")
@with_client
async def events(
    client: Client, /, filters: tuple[tuple[str, str], ...], layout: str, since: str | None, until: str | None
) -> None:
    """Print what happens in the cluster as it happens."""
    now = time.time()
    bounds = {name: moment(text, now) for name, text in (("since", since), ("until", until)) if text}
    show = _printer(client, layout)
    async with client.stream("/events", {**bounds, **filter_query(group_filters(filters))}) as lines:
        async for line in lines:
            if line.strip():
                echo(show(line.decode()))


def moment(text: str, now: float) -> str:
    """Read a time (RFC 3339, Unix seconds, or a duration before now) as the API takes it: `SECONDS.NANOSECONDS`.

    Raises:
        InvalidArgument: it has another form.

    """
    if text.replace(".", "", 1).isdecimal():
        return text
    with suppress(ValueError):  # then it is a date
        return f"{now - parse_duration(text) / _NANO:.9f}"
    try:
        dated = text if ("T" in text and text[-6:-5] in "+-") or text.endswith("Z") else f"{text}{_local_zone(now)}"
        return f"{parse_rfc3339(dated):.9f}"
    except ValueError as error:
        raise InvalidArgument(f"{text!r} is not a time: write 2026-01-31T12:00:00Z, Unix seconds or 10m") from error


def _local_zone(now: float) -> str:
    offset = datetime.fromtimestamp(now, UTC).astimezone().strftime("%z")
    return f"{offset[:3]}:{offset[3:]}"


def _printer(client: Client, layout: str) -> Any:
    if layout == "json":
        return str.rstrip
    if not layout:
        return lambda line: describe(client.decoded(line))
    from common.spec.gotemplate import Template, TemplateError  # noqa: PLC0415 - few ask for it, `moment` is used widely

    try:
        template = Template(layout, strict=False)
    except TemplateError as error:
        raise InvalidArgument(f"template parsing error: {error.message}") from error
    return lambda line: template.render(client.decoded(line))


def describe(event: Any) -> str:
    """Write an event on one line: time, type, action, object, attributes by name."""
    nanoseconds = event.get("timeNano") or event["time"] * _NANO
    local = datetime.fromtimestamp(nanoseconds // _NANO, UTC).astimezone()
    zone = "Z" if local.utcoffset() is None or not local.utcoffset() else local.isoformat()[-6:]
    when = f"{local:%Y-%m-%dT%H:%M:%S}.{nanoseconds % _NANO:09d}{zone}"
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    text = f"{when} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    return one_line(f"{text} ({attributes})" if attributes else text)


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
    if reference and not entries:
        echo(f"nothing is remembered of {reference!r}: is that its name or id, as it is listed?", err=True)
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
