"""`swarm-manager node`."""

from __future__ import annotations

import time
from typing import Any

import click

from common.errors import InvalidArgument
from common.process.deferred import Deferred
from common.text.terminal import echo, one_line
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup, flag
from manager.cli.completion import complete_nodes
from manager.cli.failures import CommandFailed
from manager.cli.flags.keyvalue import without
from manager.cli.flags.types import LABEL
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspecting, listing, task_listing
from manager.cli.node.rows import NODES, notes, page, rows
from manager.cli.service.task_rows import fetch, print_tasks
from manager.cli.session import with_client
from manager.cli.several import collect, each, finish

_NODE: dict[str, Any] = {"metavar": "NODE", "shell_complete": complete_nodes}
_NODES: dict[str, Any] = {"nargs": -1, "required": True, "metavar": "NODE...", "shell_complete": complete_nodes}


@click.group(
    cls=SwarmGroup,
    deferred={
        "activate": Deferred(
            "manager.cli.node.drain:activate", "Let nodes that were drained or paused take tasks again."
        ),
        "drain": Deferred(
            "manager.cli.node.drain:drain",
            "Move all tasks away from nodes, each replaced before it stops, and give them no new ones.",
        ),
        "stats": Deferred(
            "manager.cli.node.stats:stats", "Show what nodes' hosts use, by default all, until it is interrupted."
        ),
    },
)
def node() -> None:
    """Manage the nodes of the cluster."""


@node.command(
    "ls",
    cls=SwarmCommand,
    aliases=("list",),
    examples="""
    swarm-manager node ls
    swarm-manager node ls --filter role=worker --format '{{.Hostname}} {{.Availability}}'
    """,
)
@listing
@with_client
async def list_nodes(client: Client, /, filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool) -> None:
    """List the nodes of the cluster; a star marks the one that answers."""
    nodes = await client.get("/nodes", filter_query(group_filters(filters)))
    swarm = (await client.get("/info")).get("Swarm") or {}
    echo(NODES.render(rows(nodes, swarm), layout, quiet=quiet), nl=False)
    if not quiet:
        for line in notes(nodes):
            echo(one_line(line), err=True)


async def resolve(client: Client, reference: str) -> str:
    """Name the node that answers when it is called `self`."""
    if reference != "self":
        return reference
    own = ((await client.get("/info")).get("Swarm") or {}).get("NodeID")
    if not own:
        raise CommandFailed("self: this manager is not a node of the cluster; name one (swarm-manager node ls)")
    return str(own)


@node.command("inspect", cls=SwarmCommand, examples="swarm-manager node inspect --pretty self")
@click.argument("nodes", **_NODES)
@inspecting
@with_client
async def inspect_nodes(client: Client, /, nodes: tuple[str, ...], layout: str, *, pretty: bool) -> None:
    """Show all that is known of one or more nodes; `self` is the one that answers."""

    async def fetch_text(reference: str) -> str:
        return await client.get_text(f"/nodes/{await resolve(client, reference)}")

    async def shown(data: Any) -> str:
        return page(data)

    await inspect(nodes, fetch_text, "node", layout, shown, pretty=pretty)


@node.command("ps", cls=SwarmCommand, examples="swarm-manager node ps --filter desired-state=running host-1 host-2")
@click.argument("nodes", **{**_NODES, "required": False, "metavar": "[NODE...]"})
@task_listing
@with_client
async def list_node_tasks(
    client: Client, /, nodes: tuple[str, ...], filters: tuple[tuple[str, str], ...], layout: str, **shown: bool
) -> None:
    """List the tasks on one or more nodes, by default on the one that answers."""

    async def one(reference: str) -> list[Any]:
        found = await client.get(f"/nodes/{await resolve(client, reference)}")
        return await fetch(client, group_filters(filters, node=[found["ID"]]))

    lists, problems = await collect(nodes or ("self",), one)
    tasks = [task for each in lists for task in each]
    if tasks or not problems:
        echo(await print_tasks(client, tasks, time.time(), layout=layout, **shown), nl=False)
    finish(problems)


@node.command(
    "update",
    cls=SwarmCommand,
    examples="""
    swarm-manager node update --availability drain host-2
    swarm-manager node update --label-add disk=ssd --label-rm old host-2
    swarm-manager node update --hostname web-3 host-2
    """,
)
@click.argument("reference", **_NODE)
@flag(
    "--availability", words=("active", "pause", "drain"), help='Availability of the node ("active", "pause", "drain").'
)
@flag("--hostname", metavar="NAME", help='Host name of the node in the cluster ("": the one that it joined with).')
@flag("--label-add", type=LABEL, multiple=True, help='Add or update a node label ("key=value").')
@flag("--label-rm", multiple=True, metavar="KEY", help="Remove a node label if it exists.")
@flag("--role", words=("worker", "manager"), help='Role of the node ("worker", "manager").')
@with_client
async def update_node(
    client: Client,
    /,
    reference: str,
    availability: str | None,
    hostname: str | None,
    label_add: tuple[tuple[str, str], ...],
    label_rm: tuple[str, ...],
    role: str | None,
) -> None:
    """Change a node's availability, labels, host name and role."""
    found = await client.get(f"/nodes/{reference}")
    spec = dict(found["Spec"])
    if role is not None:
        spec["Role"] = role
    if availability is not None:
        spec["Availability"] = availability
    if hostname is not None:
        spec["Name"] = hostname
    try:
        labels = without(spec.get("Labels") or {}, label_rm, "key %s doesn't exist in node's labels")
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    spec["Labels"] = labels | dict(label_add)
    await client.post(f"/nodes/{found['ID']}/update", spec, {"version": str(found["Version"]["Index"])})
    echo(reference)


@node.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager node rm --force lost-host")
@click.argument("nodes", **_NODES)
@flag("-f", "--force", is_flag=True, default=False, help="Remove a node even though it is not down.")
@with_client
async def remove_nodes(client: Client, /, nodes: tuple[str, ...], *, force: bool) -> None:
    """Remove one or more nodes from the cluster."""
    await each(nodes, lambda name: client.delete(f"/nodes/{name}", {"force": "true"} if force else None))


@node.command("promote", cls=SwarmCommand, examples="swarm-manager node promote host-2 host-3")
@click.argument("nodes", **_NODES)
@with_client
async def promote(client: Client, /, nodes: tuple[str, ...]) -> None:
    """Make workers managers, too."""
    await _give_role(
        client, nodes, "manager", "Node {} promoted to a manager in the swarm.", "Node {} is already a manager."
    )


@node.command("demote", cls=SwarmCommand, examples="swarm-manager node demote host-3")
@click.argument("nodes", **_NODES)
@with_client
async def demote(client: Client, /, nodes: tuple[str, ...]) -> None:
    """Let managers be workers only."""
    await _give_role(client, nodes, "worker", "Manager {} demoted in the swarm.", "Node {} is already a worker.")


async def _give_role(client: Client, nodes: tuple[str, ...], role: str, done: str, already: str) -> None:
    for reference in nodes:
        found = await client.get(f"/nodes/{reference}")
        if found["Spec"].get("Role") == role:
            echo(already.format(reference))
            continue
        version = {"version": str(found["Version"]["Index"])}
        await client.post(f"/nodes/{found['ID']}/update", {**found["Spec"], "Role": role}, version)
        echo(done.format(reference))
