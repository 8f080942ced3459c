"""`swarm-manager stack`: the commands that look; those that read compose files or remove stacks are in `commands`."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import click

from common.model.service import STACK_LABEL
from common.process.deferred import Deferred
from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup
from manager.cli.completion import complete_stacks
from manager.cli.failures import CommandFailed
from manager.cli.format.listing import format_flag, group_filters, listing, task_listing
from manager.cli.format.tables import Row, Table, natural
from manager.cli.service.rows import SERVICES
from manager.cli.service.rows import rows as service_rows
from manager.cli.service.task_rows import fetch, print_tasks
from manager.cli.session import with_client

STACKS = Table(columns=("{{.Name}}", "{{.Services}}"), headings={"Name": "NAME", "Services": "SERVICES"}, key="Name")

_STACK: dict[str, Any] = {"metavar": "STACK", "shell_complete": complete_stacks}


@click.group(
    cls=SwarmGroup,
    deferred={
        "config": Deferred(
            "manager.cli.stack.commands:config", "Print the compose files merged, interpolated and in long form."
        ),
        "deploy": Deferred(
            "manager.cli.stack.commands:deploy",
            "Deploy compose files as a stack, or update one, and wait until its services run.",
            aliases=("up",),
        ),
        "plan": Deferred(
            "manager.cli.stack.commands:plan",
            "Print what a deploy would create, change and remove; the exit code is 2 when that is anything.",
        ),
        "rm": Deferred(
            "manager.cli.stack.commands:remove",
            "Remove stacks and wait until their tasks, containers and networks are gone.",
            aliases=("remove", "down"),
        ),
    },
)
def stack() -> None:
    """Manage stacks: the services, networks, secrets and configs of compose files."""


@stack.command("ls", cls=SwarmCommand, aliases=("list",), examples="swarm-manager stack ls --format '{{.Name}}'")
@format_flag()
@with_client
async def list_stacks(client: Client, /, layout: str) -> None:
    """List stacks."""
    found = await client.get("/services", filter_query({"label": [STACK_LABEL]}))
    echo(STACKS.render(rows(found), layout), nl=False)


def rows(services: list[Any]) -> list[Row]:
    """Count the services of each stack, by the stacks' names."""
    counts = Counter(each["Spec"]["Labels"][STACK_LABEL] for each in services)
    return [{"Name": name, "Services": str(counts[name])} for name in sorted(counts, key=natural)]


@stack.command("ps", cls=SwarmCommand, examples="swarm-manager stack ps --filter desired-state=running shop")
@click.argument("name", **_STACK)
@task_listing
@with_client
async def list_stack_tasks(
    client: Client, /, name: str, filters: tuple[tuple[str, str], ...], layout: str, **shown: bool
) -> None:
    """List the tasks of a stack."""
    label = f"{STACK_LABEL}={name}"
    groups = group_filters(filters)
    tasks = await fetch(client, {**groups, "label": [*groups.get("label", []), label]})
    if not tasks:
        raise CommandFailed(f"nothing found in stack: {name}")
    echo(await print_tasks(client, tasks, time.time(), layout=layout, **shown), nl=False)


@stack.command("services", cls=SwarmCommand, examples="swarm-manager stack services shop")
@click.argument("name", **_STACK)
@listing
@with_client
async def list_stack_services(
    client: Client, /, name: str, filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool
) -> None:
    """List the services of a stack."""
    groups = group_filters(filters)
    wanted = {**groups, "label": [*groups.get("label", []), f"{STACK_LABEL}={name}"]}
    found = await client.get("/services", {"status": "true", **filter_query(wanted)})
    if not found:
        echo(f"Nothing found in stack: {name}", err=True)
        return
    echo(SERVICES.render(service_rows(found), layout, quiet=quiet), nl=False)
