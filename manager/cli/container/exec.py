"""`swarm-manager exec`: a program in a running container, on whichever node that is."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click

from common.errors import InvalidArgument
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_running
from manager.cli.container.streams import open_stream
from manager.cli.container.terminal import following_size, join, raw_terminal
from manager.cli.failures import ApiError
from manager.cli.flags.keyvalue import read_env_file
from manager.cli.session import with_client


@click.command(
    "exec",
    cls=SwarmCommand,
    context_settings={"allow_interspersed_args": False},
    examples="""
    swarm-manager exec -it web sh
    swarm-manager exec -i db psql < dump.sql
    """,
)
@click.argument("reference", metavar="CONTAINER", shell_complete=complete_running)
@click.argument("command", nargs=-1, required=True, metavar="COMMAND [ARG...]", type=click.UNPROCESSED)
@flag("-d", "--detach", is_flag=True, default=False, help="Run the command in the background.")
@flag("--detach-keys", metavar="STRING", default="", help="Override the key sequence for detaching.")
@flag("-e", "--env", multiple=True, metavar="LIST", help="Set environment variables.")
@flag("--env-file", multiple=True, metavar="PATH", help="Read in a file of environment variables.")
@flag("-i", "--interactive", is_flag=True, default=False, help="Keep standard input open.")
@flag("--privileged", is_flag=True, default=False, help="Give extended privileges to the command.")
@flag("-t", "--tty", is_flag=True, default=False, help="Allocate a terminal.")
@flag("-u", "--user", metavar="STRING", default="", help='User name or UID ("name|uid[:group|gid]").')
@flag("-w", "--workdir", metavar="STRING", default="", help="Working directory inside the container.")
@with_client
async def execute(client: Client, /, reference: str, command: tuple[str, ...], **given: Any) -> None:
    """Run a command in a running container; its exit code is this command's."""
    if given["interactive"] and given["tty"] and not sys.stdin.isatty():
        raise InvalidArgument("the input device is not a TTY")
    made = await client.post(f"/containers/{reference}/exec", _request(command, given))
    path = f"/exec/{made['Id']}"
    if given["detach"]:
        await client.post(f"{path}/start", {"Detach": True, "Tty": given["tty"]})
        return
    reader, writer = await open_stream(client, f"{path}/start", {"Detach": False, "Tty": given["tty"]})
    try:
        async with lent_terminal(client, path, **given):
            await join(reader, writer, stdin=given["interactive"], terminal=given["tty"])
    finally:
        writer.close()
    code = (await client.get(f"{path}/json"))["ExitCode"]
    if code:
        raise click.exceptions.Exit(code)


def _request(command: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    try:
        files = [variable for path in given["env_file"] for variable in read_env_file(path, os.environ)]
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    return {
        "AttachStdin": given["interactive"] and not given["detach"],
        "AttachStdout": not given["detach"],
        "AttachStderr": not given["detach"],
        "Cmd": list(command),
        "DetachKeys": given["detach_keys"],
        "Env": [*files, *given["env"]],
        "Privileged": given["privileged"],
        "Tty": given["tty"],
        "User": given["user"],
        "WorkingDir": given["workdir"],
    }


@asynccontextmanager
async def lent_terminal(client: Client, path: str, *, tty: bool, interactive: bool, **_: Any) -> AsyncIterator[None]:
    """Lend this terminal to what is at `path`, an exec or a container: its keys when there is input, and its size."""
    if not tty or not sys.stdin.isatty():
        yield
        return

    async def resize(lines: int, columns: int) -> None:
        with contextlib.suppress(ApiError):  # it has ended meanwhile
            await client.post(f"{path}/resize", params={"h": str(lines), "w": str(columns)})

    async with following_size(resize):
        with raw_terminal() if interactive else contextlib.nullcontext():
            yield
