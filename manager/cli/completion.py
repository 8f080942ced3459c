"""Shell completion: the scripts, and the names that an argument or an option may have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from common.errors import SwarmError
from common.model.service import STACK_LABEL
from common.text import shell_completion
from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand
from manager.cli.network.volume_rows import rows as volume_rows
from manager.cli.service.task_rows import node_name
from manager.cli.session import current_endpoint, first_that_answers

Items: TypeAlias = list[CompletionItem[str]]
Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], Items]

_SECONDS = 2.0  # a key press does not wait longer


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager completion bash > /etc/bash_completion.d/swarm-manager
    swarm-manager completion zsh > "${fpath[1]}/_swarm-manager"
    swarm-manager completion fish > ~/.config/fish/completions/swarm-manager.fish
    """,
)
@click.argument("shell", type=click.Choice(shell_completion.SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    echo(shell_completion.script(ctx.find_root().command, "swarm-manager", shell))


@dataclass(frozen=True, slots=True)
class _List:
    """A list of the API, and the names in its answer."""

    path: str
    names: Callable[[Any], Iterable[str]]
    query: dict[str, str] = field(default_factory=dict)


def _completing(*lists: _List) -> Complete:
    """Complete with the names in lists of the API; one that is not answered soon and well has none."""

    async def ask(client: Client, each: _List) -> list[str]:
        try:
            async with asyncio.timeout(_SECONDS):
                return list(each.names(await client.get(each.path, each.query)))
        except (SwarmError, TimeoutError):
            return []

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
        del param
        with ctx:
            endpoint = current_endpoint()

        async def ask_all() -> list[list[str]]:
            async with Client(await first_that_answers(endpoint)) as client:
                return await asyncio.gather(*(ask(client, each) for each in lists))

        try:
            found = asyncio.run(ask_all())
        except SwarmError:
            return []
        names = sorted({name for names in found for name in names})
        return [CompletionItem(name) for name in names if name and name.startswith(incomplete)]

    return complete


def in_field(complete: Complete, *keys: str) -> Complete:
    """Complete the fields `keys` of a value with commas (`source=…,target=…`); the key "" is a value without any."""

    def complete_field(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
        fields, comma, last = incomplete.rpartition(",")
        key, equals, begun = last.partition("=") if "=" in last else ("", "", last)
        if key not in keys or (comma and not key):
            return []
        before = f"{fields}{comma}{key}{equals}"
        return [CompletionItem(before + each.value) for each in complete(ctx, param, begun)]

    return complete_field


def _each(name_of: Callable[[Any], str]) -> Callable[[Any], Iterable[str]]:
    return lambda answer: map(name_of, answer)


def _of_spec(path: str) -> _List:
    return _List(path, _each(lambda each: str(each["Spec"]["Name"])))


def _container_names(answer: Any) -> Iterable[str]:
    return (name.removeprefix("/") for each in answer for name in each.get("Names") or ())


def _containers(*states: str) -> _List:
    return _List("/containers/json", _container_names, {"all": "true", **filter_query({"status": list(states)})})


def _image_names(answer: Any) -> Iterable[str]:
    return (name for each in answer for name in each.get("RepoTags") or () if not name.startswith("<none>"))


_all_containers = _List("/containers/json", _container_names, {"all": "true"})
_services, _secrets, _configs = _of_spec("/services"), _of_spec("/secrets"), _of_spec("/configs")
_nodes = _List("/nodes", _each(node_name))
_networks = _List("/networks", _each(lambda each: str(each["Name"])))
_images = _List("/images/json", _image_names)
_volumes = _List("/volumes", lambda answer: (str(row["Reference"]) for row in volume_rows(answer["Volumes"] or ())))

complete_services = _completing(_services)
complete_nodes = _completing(_nodes)
complete_secrets = _completing(_secrets)
complete_configs = _completing(_configs)
complete_networks = _completing(_networks)
complete_stacks = _completing(
    _List("/services", _each(lambda each: str((each["Spec"].get("Labels") or {}).get(STACK_LABEL, ""))))
)
complete_tasks = _completing(_List("/tasks", _each(lambda each: str(each["ID"]))))
complete_containers = _completing(_all_containers)
complete_running = _completing(_List("/containers/json", _container_names))
complete_startable = _completing(_containers("created", "exited"))
complete_paused = _completing(_containers("paused"))
complete_images = _completing(_images)
complete_volumes = _completing(_volumes)
complete_volume_names = _completing(
    _List("/volumes", lambda answer: (str(each["Name"]) for each in answer["Volumes"] or ()))
)
complete_anything = _completing(_all_containers, _images, _networks, _volumes, _services, _nodes, _secrets, _configs)
