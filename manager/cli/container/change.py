"""`swarm-manager container`: rename, pause, wait for, attach to containers, make an image of one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import click

from common.errors import FailedPrecondition, InvalidArgument
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import Complete, complete_containers, complete_paused, complete_running
from manager.cli.container.exec import lent_terminal
from manager.cli.container.streams import open_stream
from manager.cli.container.terminal import join
from manager.cli.image.transfer import parse_name, write_to
from manager.cli.session import with_client
from manager.cli.several import each, print_each


def container_argument(complete: Complete = complete_containers) -> Callable[[Any], Any]:
    return click.argument("reference", metavar="CONTAINER", shell_complete=complete)


def containers_argument(complete: Complete = complete_containers) -> Callable[[Any], Any]:
    return click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=complete)


@click.command("rename", cls=SwarmCommand, examples="swarm-manager container rename web shop")
@container_argument()
@click.argument("name", metavar="NEW_NAME")
@with_client
async def rename(client: Client, /, reference: str, name: str) -> None:
    """Rename a container; a name is taken once in the whole cluster."""
    await client.post(f"/containers/{reference}/rename", params={"name": name})


@click.command("pause", cls=SwarmCommand, examples="swarm-manager container pause web")
@containers_argument(complete_running)
@with_client
async def pause(client: Client, /, containers: tuple[str, ...]) -> None:
    """Pause all processes within one or more containers."""
    await each(containers, lambda name: client.post(f"/containers/{name}/pause"))


@click.command("unpause", cls=SwarmCommand, examples="swarm-manager container unpause web")
@containers_argument(complete_paused)
@with_client
async def unpause(client: Client, /, containers: tuple[str, ...]) -> None:
    """Unpause all processes within one or more containers."""
    await each(containers, lambda name: client.post(f"/containers/{name}/unpause"))


@click.command("wait", cls=SwarmCommand, examples="swarm-manager container wait migration")
@containers_argument()
@with_client
async def wait(client: Client, /, containers: tuple[str, ...]) -> None:
    """Wait until one or more containers stop, then print their exit codes."""

    async def one(name: str) -> list[str]:
        return [str((await client.post(f"/containers/{name}/wait"))["StatusCode"])]

    await print_each(containers, one)


@click.command("export", cls=SwarmCommand, examples="swarm-manager container export -o web.tar web")
@container_argument()
@flag("-o", "--output", default="", metavar="PATH", help="Write to a file instead of standard output.")
@with_client
async def export(client: Client, /, reference: str, output: str) -> None:
    """Write all files of a container as a tar archive."""
    await write_to(output, client, f"/containers/{reference}/export", [])


@click.command("commit", cls=SwarmCommand, examples="swarm-manager container commit -m 'with tools' web shop:tools")
@container_argument()
@click.argument("name", required=False, default="", metavar="[REPOSITORY[:TAG]]")
@flag("-a", "--author", default="", metavar="STRING", help="Author of the image.")
@flag("-c", "--change", "changes", multiple=True, metavar="LIST", help="Apply Dockerfile instruction to the image.")
@flag("-m", "--message", default="", metavar="STRING", help="Commit message.")
@flag("-p", "--pause", switch=True, default=True, help="Pause the container meanwhile (default true).")
@with_client
async def commit(client: Client, /, reference: str, name: str, **given: Any) -> None:
    """Make an image of a container's files, on the node where it is."""
    image = parse_name(name) if name else None
    query = {
        "container": reference,
        "repo": image.name if image else "",
        "tag": image.tag if image else "",
        "author": given["author"],
        "comment": given["message"],
        "changes": "\n".join(given["changes"]),
        "pause": "1" if given["pause"] else "0",
    }
    headers = {"Content-Type": "application/json"}  # of an empty body: the image is configured as the container
    echo((await client.post("/commit", params=query, headers=headers))["Id"])


@click.command("attach", cls=SwarmCommand, examples="swarm-manager container attach web")
@container_argument(complete_running)
@flag("--detach-keys", metavar="STRING", default="", help="Override the key sequence for detaching.")
@flag("--no-stdin", is_flag=True, default=False, help="Do not attach standard input.")
@with_client
async def attach(client: Client, /, reference: str, detach_keys: str, *, no_stdin: bool) -> None:
    """Join this terminal with a running container; its exit code is this command's."""
    shown = await client.get(f"/containers/{reference}/json")
    for state, what in (("Running", "a stopped container, start it first"), ("Paused", "a paused container")):
        if shown["State"].get(state, False) == (state == "Paused"):
            raise FailedPrecondition(f"you cannot attach to {what}")
    tty, stdin = shown["Config"]["Tty"], shown["Config"]["OpenStdin"] and not no_stdin
    if tty and stdin and not sys.stdin.isatty():
        raise InvalidArgument("the input device is not a TTY")
    query = urlencode({"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(stdin), "detachKeys": detach_keys})
    path = f"/containers/{shown['Id']}"
    reader, writer = await open_stream(client, f"{path}/attach?{query}", None)
    try:
        async with lent_terminal(client, path, tty=tty, interactive=stdin):
            await join(reader, writer, stdin=stdin, terminal=tty)
    finally:
        writer.close()
    state = (await client.get(f"{path}/json"))["State"]
    if not state["Running"] and state["ExitCode"]:
        raise click.exceptions.Exit(state["ExitCode"])
