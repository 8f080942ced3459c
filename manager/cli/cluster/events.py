"""`swarm-manager events`."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import click

from common.clock import parse_rfc3339
from common.errors import InvalidArgument
from common.text.quantities import parse_duration
from common.text.terminal import echo, one_line
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, flag
from manager.cli.format.tables import filter_flag, format_flag, group_filters
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
    show = _printer(layout)
    async with client.stream("/events", {**bounds, **filter_query(group_filters(filters))}) as lines:
        async for line in lines:
            if line.strip():
                echo(show(line.decode()))


def moment(text: str, now: float) -> str:
    """Read a time (RFC 3339, Unix seconds, or a duration before now) as the API takes it: `SECONDS.NANOSECONDS`.

    Raises:
        InvalidArgument: it is none of these.

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


def _printer(layout: str) -> Any:
    if layout == "json":
        return str.rstrip
    if not layout:
        return lambda line: describe(json.loads(line))
    from common.spec.gotemplate import Template, TemplateError  # noqa: PLC0415 - few ask for it, `moment` is used widely

    try:
        template = Template(layout, strict=False)
    except TemplateError as error:
        raise InvalidArgument(f"template parsing error: {error.message}") from error
    return lambda line: template.render(json.loads(line))


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
