"""`prune` of anything: asked for, done on every node that answers, told with what it gave back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, flag
from manager.cli.container.stats import in_thousands
from manager.cli.failures import CommandFailed
from manager.cli.format.listing import FilterType, group_filters
from manager.cli.session import with_client

filters_flag = flag(
    "--filter", "filters", type=FilterType(), multiple=True, help="Only show objects with this property (name=value)."
)
force_flag = flag("-f", "--force", is_flag=True, default=False, help="Do not ask for confirmation.")


def prune_command(noun: str, what: str, summary: str) -> click.Command:
    """Make the command `prune` of a noun of the API: `what` would be removed, `summary` is its help."""

    @click.command(
        "prune",
        cls=SwarmCommand,
        help=summary,
        examples=f"swarm-manager {noun} prune --force --filter label=stage=test",
    )
    @filters_flag
    @force_flag
    @with_client
    async def prune(client: Client, /, filters: tuple[tuple[str, str], ...], *, force: bool) -> None:
        await run_prune(client, noun, what, group_filters(filters), force=force)

    return prune


async def run_prune(client: Client, noun: str, what: str, filters: dict[str, list[str]], *, force: bool) -> None:
    """Ask the user, unless `force`, then the manager; print what went."""
    if not force and not _confirmed(what):
        return
    pruned = await client.post(f"/{noun}s/prune", params=filter_query(filters))
    title = f"{noun.capitalize()}s"
    if lines := _lines(pruned.get(f"{title}Deleted") or ()):
        echo(f"Deleted {title}:\n" + "\n".join(lines) + "\n")
    if "SpaceReclaimed" in pruned:
        echo(f"Total reclaimed space: {in_thousands(pruned['SpaceReclaimed'])}")


def _confirmed(what: str) -> bool:
    try:
        return click.confirm(f"WARNING! This will remove {what}.\nAre you sure you want to continue?")
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):  # else it was Ctrl-C
            raise CommandFailed("\nNobody has confirmed it: nothing was removed. --force does not ask.") from error
        raise


def _lines(deleted: Sequence[Any]) -> list[str]:
    """Name what went: names, or for images what happened to each."""
    return [
        each if isinstance(each, str) else "\n".join(f"{what.lower()}: {value}" for what, value in each.items())
        for each in deleted
    ]
