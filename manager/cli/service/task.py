"""`swarm-manager task`."""

from __future__ import annotations

import time

import click

from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, SwarmGroup
from manager.cli.completion import complete_tasks
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspect_format_flag, task_listing
from manager.cli.service.task_rows import fetch, print_tasks
from manager.cli.session import with_client


@click.group(cls=SwarmGroup, short_help="Look at tasks.")
def task() -> None:
    """Look at tasks, the containers of services."""


@task.command(
    "ls",
    cls=SwarmCommand,
    aliases=("list",),
    examples="""
    swarm-manager task ls --filter desired-state=running
    swarm-manager task ls --filter service=web --no-trunc
    """,
)
@task_listing
@with_client
async def list_tasks(
    client: Client,
    /,
    filters: tuple[tuple[str, str], ...],
    layout: str,
    *,
    quiet: bool,
    no_resolve: bool,
    no_trunc: bool,
) -> None:
    """List the tasks of all services."""
    tasks = await fetch(client, group_filters(filters))
    text = await print_tasks(
        client, tasks, time.time(), layout=layout, quiet=quiet, no_trunc=no_trunc, no_resolve=no_resolve
    )
    echo(text, nl=False)


@task.command("inspect", cls=SwarmCommand, examples="swarm-manager task inspect --format '{{.Status.State}}' TASK")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...", shell_complete=complete_tasks)
@inspect_format_flag()
@with_client
async def inspect_tasks(client: Client, /, tasks: tuple[str, ...], layout: str) -> None:
    """Show all that is known of one or more tasks."""
    await inspect(tasks, lambda reference: client.get_text(f"/tasks/{reference}"), "task", layout)
