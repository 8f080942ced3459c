"""`swarm-manager stack`: deploy stacks of compose files, show what that would change, and remove them."""

from __future__ import annotations

import os
from typing import Any

import click

from common.clock import seconds
from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_stacks
from manager.cli.compose import Config, Stack, builds, convert, render
from manager.cli.flags.types import DETACH, TIMEOUT
from manager.cli.progress.converge import converge
from manager.cli.progress.judgement import WaitOptions
from manager.cli.session import with_client
from manager.cli.several import collect, finish, going_on
from manager.cli.stack.build import build_stack
from manager.cli.stack.deploy import RESOLVE, DeployOptions, line_of, rehearse, services_that_run
from manager.cli.stack.deploy import deploy as deploy_stack
from manager.cli.stack.files import load_files, project_directory, read_bytes
from manager.cli.stack.plan import show_plan
from manager.cli.stack.remove import remove as remove_stack

_STACK: dict[str, Any] = {"metavar": "STACK", "shell_complete": complete_stacks}


_files = flag(
    "-c",
    "--compose-file",
    "files",
    multiple=True,
    type=click.Path(),
    metavar="PATH",
    help='Path to a Compose file, or "-" to read from standard input.',
)
_profiles = flag(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME",
    help='Deploy the services of this profile, too ("*" for all; default: those of COMPOSE_PROFILES).',
)
_prune = flag("--prune", is_flag=True, default=False, help="Remove services that are no longer in the files.")
_resolve = flag(
    "--resolve-image",
    default="always",
    show_default=True,
    words=RESOLVE,
    help='When to ask the registry for image digests ("always", "changed", "never").',
)


def _convert(config: Config, name: str, resolve_image: str) -> Stack:
    """Make the stack that the files describe; what has no effect in it is warned of."""
    if resolve_image not in RESOLVE:
        raise InvalidArgument(f"Invalid option {resolve_image} for flag --resolve-image: {', '.join(RESOLVE)}")
    made = convert(config, name, read_bytes)
    for warning in made.warnings[len(config.warnings) :]:
        echo(warning, err=True)
    return made


@click.command(
    "deploy",
    cls=SwarmCommand,
    aliases=("up",),
    examples="""
    swarm-manager stack deploy -c docker-compose.yaml shop
    swarm-manager stack deploy -c base.yaml -c production.yaml --prune shop
    generate | swarm-manager stack deploy -c - --detach shop
    """,
)
@click.argument("name", **_STACK)
@_files
@flag("--dry-run", is_flag=True, default=False, help="Print what would change, like stack plan, and change nothing.")
@DETACH
@flag("--no-build", is_flag=True, default=False, help="Do not build what has a `build`; use the images as they are.")
@_profiles
@_prune
@flag("-q", "--quiet", is_flag=True, default=False, help="Suppress progress output.")
@_resolve
@TIMEOUT
@flag("--wait", is_flag=True, default=False, help="Wait for the services to converge (the default).")
@flag("--with-registry-auth", is_flag=True, default=False, help="Send registry credentials to the workers.")
@with_client
async def deploy(client: Client, /, name: str, files: tuple[str, ...], **given: Any) -> None:
    """Deploy compose files as a stack, or update one, and wait until its services run."""
    if given["wait"] and given["detach"]:
        raise InvalidArgument("--wait and --detach contradict each other: give one of them")
    config = load_files(files, given["profiles"])
    converted = _convert(config, name, given["resolve_image"])
    options = DeployOptions(given["resolve_image"], given["with_registry_auth"], given["prune"])
    if given["dry_run"]:
        await show_plan(client, converted, options)
        return
    if not given["no_build"]:
        wanted = builds(config, name, project_directory(files), os.environ)
        if wanted:
            await rehearse(client, converted, options)
        await build_stack(client, config, wanted, quiet=given["quiet"])
    with going_on(f"Stack {name} is deployed as a whole or not at all: 'stack services {name}' shows which."):
        done = await deploy_stack(client, converted, options)
    for each in done:
        echo(line_of(each))
    if not given["detach"]:
        made = frozenset(each["ID"] for each in done if each["Action"] == "create")
        waiting = WaitOptions(timeout=seconds(given["timeout"]), made=made)
        await converge(client, services_that_run(done), waiting, quiet=given["quiet"])


@click.command(
    "plan",
    cls=SwarmCommand,
    examples="""
    swarm-manager stack plan -c docker-compose.yaml shop
    swarm-manager stack plan -c docker-compose.yaml --prune shop || test $? = 2
    """,
)
@click.argument("name", **_STACK)
@_files
@_profiles
@_prune
@_resolve
@with_client
async def plan(client: Client, /, name: str, files: tuple[str, ...], **given: Any) -> None:
    """Print what a deploy would create, change and remove; the exit code is 2 when that is anything."""
    resolve_image = given["resolve_image"]
    converted = _convert(load_files(files, given["profiles"]), name, resolve_image)
    await show_plan(client, converted, DeployOptions(resolve_image, prune=given["prune"]))


@click.command("config", cls=SwarmCommand, examples="swarm-manager stack config -c base.yaml -c production.yaml")
@_files
@_profiles
@flag("--skip-interpolation", is_flag=True, default=False, help="Leave variables as they are written.")
def config(files: tuple[str, ...], profiles: tuple[str, ...], *, skip_interpolation: bool) -> None:
    """Print the compose files merged, interpolated and in long form."""
    filled_in = not skip_interpolation
    echo(render(load_files(files, profiles, filled_in=filled_in), filled_in=filled_in), nl=False)


@click.command(
    "rm",
    cls=SwarmCommand,
    aliases=("remove", "down"),
    examples="""
    swarm-manager stack rm shop
    swarm-manager stack rm --detach shop blog
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="STACK...", shell_complete=complete_stacks)
@flag("-d", "--detach", switch=True, help="Do not wait until everything is gone.")
@TIMEOUT
@with_client
async def remove(client: Client, /, names: tuple[str, ...], *, detach: bool | None, timeout: int) -> None:  # noqa: ASYNC109  # a flag
    """Remove stacks and wait until their tasks, containers and networks are gone."""

    async def one(name: str) -> None:
        await remove_stack(client, name, wait=not detach, patience=seconds(timeout))

    _, problems = await collect(names, one)
    finish(problems)
