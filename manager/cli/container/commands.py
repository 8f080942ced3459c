"""`swarm-manager container`: containers on any node. New ones are started with the docker CLI, against the same API."""

from __future__ import annotations

import sys
import time
from copy import copy
from typing import Any

import click

from common.process.deferred import Deferred
from common.process.usage import as_epilog
from common.text.terminal import echo, one_line
from manager.cli.client import Client, filter_query
from manager.cli.cluster.events import moment
from manager.cli.command import SwarmCommand, SwarmGroup, flag
from manager.cli.completion import complete_running, complete_startable
from manager.cli.container import change as container_change
from manager.cli.container import copy as container_copy
from manager.cli.container.change import container_argument, containers_argument
from manager.cli.container.exec import execute
from manager.cli.container.rows import CONTAINERS, WITH_SIZES, port_lines, rows
from manager.cli.container.streams import STDERR, frames
from manager.cli.failures import CommandFailed
from manager.cli.files.pruning import prune_command
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspect_format_flag, listing
from manager.cli.format.tables import align
from manager.cli.session import with_client
from manager.cli.several import each

_KINDS = ("C", "A", "D")


@click.group(
    cls=SwarmGroup,
    short_help="Manage containers on all nodes.",
    deferred={
        "stats": Deferred(
            "manager.cli.container.usage:stats",
            "Show what containers use, by default all that run, until it is interrupted.",
        )
    },
)
def container() -> None:
    """Manage containers, those of services included, on whichever node they are."""


@container.command(
    "ls",
    cls=SwarmCommand,
    aliases=("list", "ps"),
    examples="""
    swarm-manager container ls --all
    swarm-manager container ls --filter node=host-2 --format '{{.Names}} {{.Node}}'
    """,
)
@flag("-a", "--all", "everything", is_flag=True, default=False, help="Show containers that do not run, too.")
@flag("-n", "--last", type=int, default=0, metavar="INT", help="Show this many of the last created containers.")
@flag("-l", "--latest", is_flag=True, default=False, help="Show the container that was created last.")
@flag("--no-trunc", is_flag=True, default=False, help="Do not truncate output.")
@flag("-s", "--size", is_flag=True, default=False, help="Show the sizes of the containers.")
@listing
@with_client
async def list_containers(
    client: Client,
    /,
    filters: tuple[tuple[str, str], ...],
    layout: str,
    *,
    quiet: bool,
    everything: bool,
    last: int,
    latest: bool,
    no_trunc: bool,
    size: bool,
) -> None:
    """List the containers of all nodes."""
    limit = 1 if latest else last
    query = {"all": "true"} if everything else {}
    query |= {"limit": str(limit)} if limit > 0 else {}
    query |= {"size": "1"} if size or ".Size" in layout else {}
    found = await client.get("/containers/json", query | filter_query(group_filters(filters)))
    table = WITH_SIZES if size else CONTAINERS
    echo(table.render(rows(found, time.time(), no_trunc=no_trunc), layout, quiet=quiet), nl=False)


@container.command("inspect", cls=SwarmCommand, examples="swarm-manager container inspect -f '{{.Node.Name}}' web")
@containers_argument()
@inspect_format_flag()
@flag("-s", "--size", is_flag=True, default=False, help="Show the sizes of the containers.")
@with_client
async def inspect_containers(client: Client, /, containers: tuple[str, ...], layout: str, *, size: bool) -> None:
    """Show all that is known of one or more containers."""
    query = {"size": "1"} if size else {}
    await inspect(
        containers,
        lambda reference: client.get_text(f"/containers/{reference}/json", query),
        "container",
        layout,
    )


@container.command("logs", cls=SwarmCommand, examples="swarm-manager container logs --follow --tail 20 web")
@container_argument()
@flag("--details", is_flag=True, default=False, help="Show extra details provided to logs.")
@flag("-f", "--follow", is_flag=True, default=False, help="Follow log output.")
@flag("--since", metavar="STRING", help="Show logs since a time (2026-01-31T12:00:00Z) or a duration before now (42m).")
@flag("-n", "--tail", default="all", show_default=True, metavar="STRING", help="Number of lines from the end.")
@flag("-t", "--timestamps", is_flag=True, default=False, help="Show timestamps.")
@flag(
    "--until", metavar="STRING", help="Show logs before a time (2026-01-31T12:00:00Z) or a duration before now (42m)."
)
@with_client
async def logs(client: Client, /, reference: str, **given: Any) -> None:
    """Print what a container wrote to its standard output and error."""
    found = await client.get(f"/containers/{reference}/json")
    query = {
        "stdout": "true",
        "stderr": "true",
        "tail": given["tail"],
        **{name: "true" for name in ("details", "follow", "timestamps") if given[name]},
        **{name: moment(given[name], time.time()) for name in ("since", "until") if given[name]},
    }
    async with client.stream(f"/containers/{found['Id']}/logs", query) as body:
        if found["Config"].get("Tty"):
            async for chunk in body.iter_any():
                _write(chunk)
            return
        async for channel, piece in frames(body):
            _write(piece, error=channel == STDERR)


def _write(data: bytes, *, error: bool = False) -> None:
    stream = sys.stderr.buffer if error else sys.stdout.buffer
    stream.write(data)
    stream.flush()


def _stop_query(seconds: int | None, signal: str | None) -> dict[str, str]:
    chosen = {"t": None if seconds is None else str(seconds), "signal": signal}
    return {name: value for name, value in chosen.items() if value is not None}


_grace = flag("-t", "--time", "seconds", type=int, metavar="INT", help="Seconds to wait before killing the container.")
_signal = flag("-s", "--signal", metavar="STRING", help="Signal to send to the container.")


@container.command("stop", cls=SwarmCommand, examples="swarm-manager container stop --time 30 web")
@containers_argument(complete_running)
@_grace
@_signal
@with_client
async def stop(client: Client, /, containers: tuple[str, ...], seconds: int | None, signal: str | None) -> None:
    """Stop one or more running containers."""
    query = _stop_query(seconds, signal)
    await each(containers, lambda name: client.post(f"/containers/{name}/stop", params=query))


@container.command("restart", cls=SwarmCommand, examples="swarm-manager container restart web")
@containers_argument()
@_grace
@_signal
@with_client
async def restart(client: Client, /, containers: tuple[str, ...], seconds: int | None, signal: str | None) -> None:
    """Restart one or more containers."""
    query = _stop_query(seconds, signal)
    await each(containers, lambda name: client.post(f"/containers/{name}/restart", params=query))


@container.command("start", cls=SwarmCommand, examples="swarm-manager container start web")
@containers_argument(complete_startable)
@with_client
async def start(client: Client, /, containers: tuple[str, ...]) -> None:
    """Start one or more stopped containers."""
    await each(containers, lambda name: client.post(f"/containers/{name}/start"))


@container.command("kill", cls=SwarmCommand, examples="swarm-manager container kill --signal HUP web")
@containers_argument(complete_running)
@_signal
@with_client
async def kill(client: Client, /, containers: tuple[str, ...], signal: str | None) -> None:
    """Send a signal, SIGKILL by default, to one or more containers."""
    query = _stop_query(None, signal)
    await each(containers, lambda name: client.post(f"/containers/{name}/kill", params=query))


@container.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager container rm --force web")
@containers_argument()
@flag("-f", "--force", is_flag=True, default=False, help="Remove a running container: it is killed first.")
@flag("-v", "--volumes", is_flag=True, default=False, help="Remove its anonymous volumes, too.")
@with_client
async def remove(client: Client, /, containers: tuple[str, ...], *, force: bool, volumes: bool) -> None:
    """Remove one or more containers."""
    query = ({"force": "1"} if force else {}) | ({"v": "1"} if volumes else {})
    await each(containers, lambda name: client.delete(f"/containers/{name}", query))


@container.command(
    "top",
    cls=SwarmCommand,
    context_settings={"allow_interspersed_args": False},
    examples="""
    swarm-manager container top web
    swarm-manager container top web -o pid,comm
    """,
)
@container_argument(complete_running)
@click.argument("options", nargs=-1, metavar="[PS OPTIONS]", type=click.UNPROCESSED)
@with_client
async def top(client: Client, /, reference: str, options: tuple[str, ...]) -> None:
    """Show the processes of a container; options are those of `ps`."""
    query = {"ps_args": " ".join(options)} if options else {}
    found = await client.get(f"/containers/{reference}/top", query)
    lines = [found["Titles"], *(found.get("Processes") or ())]
    echo(align("".join("\t".join(map(one_line, line)) + "\n" for line in lines), min_width=20, padding=3), nl=False)


@container.command("port", cls=SwarmCommand, examples="swarm-manager container port web 80/tcp")
@container_argument()
@click.argument("private", required=False, metavar="[PRIVATE_PORT[/PROTO]]")
@with_client
async def port(client: Client, /, reference: str, private: str | None) -> None:
    """List the ports of a container that are published on its node."""
    shown = await client.get(f"/containers/{reference}/json")
    lines = port_lines(shown["NetworkSettings"].get("Ports") or {}, private)
    if private and not lines:
        raise CommandFailed(f"no public port '{private}' published for {reference}")
    echo("".join(f"{line}\n" for line in lines), nl=False)


@container.command("diff", cls=SwarmCommand, examples="swarm-manager container diff web")
@container_argument()
@with_client
async def diff(client: Client, /, reference: str) -> None:
    """List the files of a container that are changed (C), added (A) or deleted (D) since it was made."""
    for change in await client.get(f"/containers/{reference}/changes") or ():
        echo(one_line(f"{_KINDS[change['Kind']]} {change['Path']}"))


_execute = copy(execute)
_execute.epilog = as_epilog("swarm-manager container exec -it web sh")
for command in (
    _execute,
    container_change.attach,
    container_change.commit,
    container_change.export,
    container_change.pause,
    container_change.rename,
    container_change.unpause,
    container_change.wait,
    container_copy.copy,
    prune_command("container", "all stopped containers", "Remove all stopped containers, of every node that answers."),
):
    container.add_command(command)
