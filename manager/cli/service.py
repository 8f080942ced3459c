"""`swarm-manager service`: the commands that look; those that change are in `service_change`."""

from __future__ import annotations

import time
from typing import Any

import click

from common.terminal import echo
from manager.cli import decode, gotypes, service_change
from manager.cli.client import Client, filtered
from manager.cli.cluster import rebalance_service
from manager.cli.command import SwarmCommand, SwarmGroup
from manager.cli.completion import complete_services
from manager.cli.failures import ApiError
from manager.cli.inspection import each, finish, inspect
from manager.cli.listing import grouped, inspecting, listing, task_listing
from manager.cli.service_history import history
from manager.cli.service_logs import logs
from manager.cli.service_page import page
from manager.cli.service_rows import SERVICES, rows, waiting
from manager.cli.session import with_client
from manager.cli.task_rows import fetch, print_tasks

_SERVICES: dict[str, Any] = {
    "nargs": -1,
    "required": True,
    "metavar": "SERVICE...",
    "shell_complete": complete_services,
}


@click.group(cls=SwarmGroup)
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
    found = await client.get("/services", {"status": "true", **filtered(grouped(filters))})
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
        if why := waiting(decode.service(found)):
            waits.append(f"{found['Spec']['Name']} {why}")
        asked.append(found["ID"])
    if asked:
        tasks = await fetch(client, grouped(filters, service=asked))
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

    async def fetch_text(reference: str) -> str:
        return await client.get_text(f"/services/{reference}", {"insertDefaults": "true"})

    async def shown(data: Any) -> str:
        networks = {each["Id"]: each["Name"] for each in await client.get("/networks")}
        return page(decode.service(data), networks, time.time())

    await inspect(services, fetch_text, gotypes.SERVICE, layout, shown, pretty=pretty)


@service.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager service rm web db")
@click.argument("services", **_SERVICES)
@with_client
async def remove(client: Client, /, services: tuple[str, ...]) -> None:
    """Remove one or more services and stop their tasks."""
    await each(services, lambda name: client.delete(f"/services/{name}"))


for command in (
    logs,
    history,
    service_change.create,
    service_change.update,
    service_change.rollback,
    service_change.scale,
    rebalance_service,
):
    service.add_command(command)
