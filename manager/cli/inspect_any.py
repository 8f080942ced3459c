"""`swarm-manager inspect`: any object by its name or id, of the first kind that has it."""

from __future__ import annotations

import click

from common.errors import NotFound
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_anything
from manager.cli.failures import ApiError
from manager.cli.format.inspection import show
from manager.cli.format.listing import inspect_format_flag
from manager.cli.session import with_client
from manager.cli.several import collect, finish

# In docker's order.
_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
    "service": "/services/{}",
    "task": "/tasks/{}",
    "node": "/nodes/{}",
    "secret": "/secrets/{}",
    "config": "/configs/{}",
}


@click.command(
    "inspect",
    cls=SwarmCommand,
    examples="""
    swarm-manager inspect shop_web
    swarm-manager inspect --type volume host-2/data
    """,
)
@click.argument("references", nargs=-1, required=True, metavar="NAME|ID...", shell_complete=complete_anything)
@inspect_format_flag()
@flag("-s", "--size", is_flag=True, default=False, help="Show the sizes of containers too.")
@flag("--type", "kind", type=click.Choice(list(_PATHS)), help="Only inspect objects of this kind.")
@with_client
async def inspect_any(client: Client, /, references: tuple[str, ...], layout: str, *, size: bool, kind: str) -> None:
    """Show all that is known of one or more objects of any kind."""
    kinds = []

    async def fetch(reference: str) -> str:
        for each in [kind] if kind else _PATHS:
            query = {"size": "true"} if size and each == "container" else None
            try:
                text = await client.get_text(_PATHS[each].format(reference), query)
            except ApiError as error:
                if not error.not_found:
                    raise
                continue
            kinds.append(each)
            return text
        raise NotFound(f"Error: No such {kind or 'object'}: {reference}")

    texts, problems = await collect(references, fetch)
    show(list(zip(texts, kinds, strict=True)), layout)
    finish(problems)
