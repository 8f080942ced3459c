"""`swarm-manager service`: the commands that look, `history` among them; those that change are in `change`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from common.clock import parse_rfc3339
from common.process.deferred import Deferred
from common.text.image_names import short_name
from common.text.terminal import echo
from manager.cli import codec
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup
from manager.cli.completion import complete_services
from manager.cli.failures import ApiError
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import format_flag, group_filters, inspecting, listing, quiet_flag, task_listing
from manager.cli.format.tables import Row, Table, ago
from manager.cli.service.rows import SERVICES, rows, waiting
from manager.cli.service.task_rows import fetch, print_tasks
from manager.cli.session import with_client
from manager.cli.several import each, finish

_SERVICES: dict[str, Any] = {
    "nargs": -1,
    "required": True,
    "metavar": "SERVICE...",
    "shell_complete": complete_services,
}


@click.group(
    cls=SwarmGroup,
    deferred={
        "create": Deferred("manager.cli.service.change:create", "Create a service and wait until its tasks run."),
        "history": Deferred(
            "manager.cli.service.commands:history",
            "List the specifications that a service has and had, with what each changed.",
        ),
        "logs": Deferred("manager.cli.service.logs:logs", "Print the logs of all tasks of a service, or of one task."),
        "rebalance": Deferred(
            "manager.cli.cluster.commands:rebalance_service",
            "Move a service's tasks until they are spread evenly, one at a time, each replaced before it stops.",
        ),
        "rollback": Deferred(
            "manager.cli.service.change:rollback",
            "Return a service to its previous specification, or to an earlier one.",
        ),
        "scale": Deferred(
            "manager.cli.service.change:scale", "Set the number of tasks of one or more replicated services."
        ),
        "stats": Deferred(
            "manager.cli.service.stats:stats", "Show what services use, by default all, until it is interrupted."
        ),
        "update": Deferred(
            "manager.cli.service.change:update", "Change a service and wait until its tasks are replaced."
        ),
    },
)
def service() -> None:
    """Manage services."""


@service.command(
    "ls",
    cls=SwarmCommand,
    aliases=("list",),
    examples="""
    swarm-manager service ls
    swarm-manager service ls --filter mode=global --format '{{.Name}} {{.Replicas}}'
    """,
)
@listing
@with_client
async def list_services(client: Client, /, filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool) -> None:
    """List services."""
    found = await client.get("/services", {"status": "true", **filter_query(group_filters(filters))})
    echo(SERVICES.render(rows(found), layout, quiet=quiet), nl=False)


@service.command(
    "ps",
    cls=SwarmCommand,
    examples="""
    swarm-manager service ps web
    swarm-manager service ps --no-trunc --filter desired-state=running web db
    """,
)
@click.argument("services", **_SERVICES)
@task_listing
@with_client
async def list_service_tasks(
    client: Client, /, services: tuple[str, ...], filters: tuple[tuple[str, str], ...], layout: str, **shown: bool
) -> None:
    """List the tasks of one or more services."""
    tasks: list[Any] = []
    asked, problems, waits = [], [], []
    for reference in services:
        try:
            found = await client.get(f"/services/{reference}")
        except ApiError as error:
            problems.append(f"no such service: {reference}" if error.not_found else error.message)
            continue
        if why := waiting(codec.service(found)):
            waits.append(f"{found['Spec']['Name']} {why}")
        asked.append(found["ID"])
    if asked:
        tasks = await fetch(client, group_filters(filters, service=asked))
    if len(problems) < len(services):
        shown["no_trunc"] |= shown[
            "quiet"
        ]  # as docker has it: short ids in `stack ps -q` and `node ps -q`, long ones here
        echo(await print_tasks(client, tasks, time.time(), layout=layout, **shown), nl=False)
    for line in waits:
        echo(line, err=True)
    finish(problems)


@service.command(
    "inspect",
    cls=SwarmCommand,
    examples="""
    swarm-manager service inspect --pretty web
    swarm-manager service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' web
    """,
)
@click.argument("services", **_SERVICES)
@inspecting
@with_client
async def inspect_services(client: Client, /, services: tuple[str, ...], layout: str, *, pretty: bool) -> None:
    """Show all that is known of one or more services."""
    from manager.cli.service.page import page  # noqa: PLC0415 - it knows schedules, which lists do not need

    async def fetch_text(reference: str) -> str:
        return await client.get_text(f"/services/{reference}", {"insertDefaults": "true"})

    async def shown(data: Any) -> str:
        networks = {each["Id"]: each["Name"] for each in await client.get("/networks")}
        return page(codec.service(data), networks, time.time())

    await inspect(services, fetch_text, "service", layout, shown, pretty=pretty)


@service.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager service rm web db")
@click.argument("services", **_SERVICES)
@with_client
async def remove(client: Client, /, services: tuple[str, ...]) -> None:
    """Remove one or more services and stop their tasks."""
    await each(services, lambda name: client.delete(f"/services/{name}"))


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
