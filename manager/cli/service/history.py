"""`swarm-manager service history`: the specifications that a service has had, to choose one to return to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from common.clock import parse_rfc3339
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand
from manager.cli.completion import complete_services
from manager.cli.format.tables import Row, Table, format_flag, quiet_flag
from manager.cli.format.wording import ago
from manager.cli.image.references import short_name
from manager.cli.session import with_client

REVISIONS = Table(
    columns=("{{.Revision}}", "{{.Replaced}}", "{{.Image}}", "{{.Changes}}"),
    headings={"Revision": "REVISION", "Replaced": "REPLACED", "Image": "IMAGE", "Changes": "CHANGES"},
    raw={"revision": "Revision", "replaced": "Replaced", "image": "Image", "changes": "Changes"},
    key="Revision",
)
_MOST_CHANGES = 4


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager service history web
    swarm-manager service history --format '{{.Revision}} {{.Image}}' web
    """,
)
@click.argument("reference", metavar="SERVICE", shell_complete=complete_services)
@format_flag()
@quiet_flag("Only display the revisions' numbers.")
@with_client
async def history(client: Client, /, reference: str, layout: str, *, quiet: bool) -> None:
    """List the specifications that a service has and had, with what each changed."""
    found = await client.get(f"/services/{reference}/history")
    echo(REVISIONS.render(revision_rows(found, time.time()), layout, quiet=quiet), nl=False)


def revision_rows(revisions: list[Mapping[str, Any]], now: float) -> list[Row]:
    """Make the rows, the present revision first."""
    before: list[Mapping[str, Any] | None] = [*revisions[1:], None]
    return [_row(each, older, now) for each, older in zip(revisions, before, strict=True)]


def _row(revision: Mapping[str, Any], older: Mapping[str, Any] | None, now: float) -> Row:
    replaced = revision.get("ReplacedAt")
    container = revision["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
    names = list(changes(older["Spec"], revision["Spec"])) if older else []
    more = f" and {len(names) - _MOST_CHANGES} more" if len(names) > _MOST_CHANGES else ""
    return {
        "Revision": revision["Revision"],
        "Replaced": ago(parse_rfc3339(replaced), now) if replaced else "present",
        "Image": short_name(container.get("Image", "")),
        "Changes": ", ".join(names[:_MOST_CHANGES]) + more,
    }


def changes(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Name the fields in which two specifications differ, each by its path without the template's own part."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in _keys(old, new):
            yield from changes(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield path.removeprefix("TaskTemplate.").removeprefix("ContainerSpec.")


def _keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[str]:
    return dict.fromkeys([*old, *new])
