"""Shell completion: the scripts, and the names that an argument may have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from common.errors import SwarmError
from common.model.service import STACK_LABEL
from manager.cli.client import Client
from manager.cli.command import SwarmCommand
from manager.cli.session import current_endpoint
from manager.cli.task_rows import node_name

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_SECONDS = 2.0  # a key press does not wait longer


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager completion bash > /etc/bash_completion.d/swarm-manager
    swarm-manager completion zsh > "${fpath[1]}/_swarm-manager"
    swarm-manager completion fish > ~/.config/fish/completions/swarm-manager.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    program = ctx.find_root()
    maker = get_completion_class(shell)
    assert maker is not None, "click completes these three shells"
    click.echo(maker(program.command, {}, "swarm-manager", "_SWARM_MANAGER_COMPLETE").source())


def _completing(path: str, name_of: Callable[[Any], str]) -> Complete:
    """Complete with the names of a list of the API; a manager that does not answer completes nothing."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del param
        with ctx:
            endpoint = current_endpoint()

        async def ask() -> Any:
            async with asyncio.timeout(_SECONDS), Client(endpoint) as client:
                return await client.get(path)

        try:
            found = asyncio.run(ask())
        except (SwarmError, TimeoutError):
            return []
        names = sorted({name_of(each) for each in found})
        return [CompletionItem(name) for name in names if name and name.startswith(incomplete)]

    return complete


def _spec_name(each: Any) -> str:
    return str(each["Spec"]["Name"])


complete_services = _completing("/services", _spec_name)
complete_nodes = _completing("/nodes", node_name)
complete_secrets = _completing("/secrets", _spec_name)
complete_configs = _completing("/configs", _spec_name)
complete_networks = _completing("/networks", lambda each: str(each["Name"]))
complete_stacks = _completing("/services", lambda each: str((each["Spec"].get("Labels") or {}).get(STACK_LABEL, "")))
complete_tasks = _completing("/tasks", lambda each: str(each["ID"]))
