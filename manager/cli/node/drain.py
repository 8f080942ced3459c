"""`swarm-manager node drain` and `node activate`: take a machine out of service before its reboot, and back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from common.clock import seconds
from common.model import Task
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_nodes
from manager.cli.failures import CommandFailed
from manager.cli.flags.types import DURATION
from manager.cli.network.volume_copies import follow, what
from manager.cli.progress.converge import MAX_INTERVAL
from manager.cli.progress.event_feed import event_feed
from manager.cli.service.task_rows import fetch
from manager.cli.session import with_client
from manager.cli.several import each, going_on

_NODES: dict[str, Any] = {"nargs": -1, "required": True, "metavar": "NODE...", "shell_complete": complete_nodes}
_NAMED_AT_MOST = 10


@click.command(
    "drain",
    cls=SwarmCommand,
    examples="""
    swarm-manager node drain --wait host-2 && ssh host-2 reboot   # then: swarm-manager node activate host-2
    swarm-manager node drain --wait --deadline 5m host-2
    """,
)
@click.argument("nodes", **_NODES)
@flag("--wait", is_flag=True, default=False, help="Wait until no task runs there.")
@flag("--deadline", type=DURATION, help="Stop waiting after this time. The node is still drained.")
@flag("--stop-stateful", is_flag=True, default=False, help="Stop tasks whose data is there; they wait for the node.")
@flag("--move-volumes", is_flag=True, default=False, help="First move the data of tasks to other nodes.")
@with_client
async def drain(
    client: Client,
    /,
    nodes: tuple[str, ...],
    *,
    wait: bool,
    deadline: int | None,
    stop_stateful: bool,
    move_volumes: bool,
) -> None:
    """Move all tasks away from nodes, each replaced before it stops, and give them no new ones.

    A node is not drained while tasks run there whose data in volumes is there, unless they are to stop, or their data
    is to move: then the node takes no new tasks until all of it is elsewhere, and is drained after that. With both
    flags what cannot be moved stops.
    """
    if move_volumes:
        for node in nodes:  # all of them first: none is to have the data of another
            await _change(client, node, "pause")
        left = [problem for node in nodes for problem in await _move_volumes(client, node)]
        if left and not stop_stateful:
            raise CommandFailed("\n".join([*left, _not_drained(nodes)]))
        for problem in left:
            echo(problem, err=True)
    due = time.monotonic() + seconds(deadline) if deadline is not None else None
    drained = await _set(client, nodes, "drain", {} if stop_stateful else {"stateful": "refuse"})
    if wait or due is not None:
        with going_on(
            "The nodes stay drained, and their tasks keep moving: 'swarm-manager node ps' shows what is left."
        ):
            await _until_empty(client, drained, due)


@click.command("activate", cls=SwarmCommand, examples="swarm-manager node activate host-2")
@click.argument("nodes", **_NODES)
@with_client
async def activate(client: Client, /, nodes: tuple[str, ...]) -> None:
    """Let nodes that were drained or paused take tasks again."""
    await _set(client, nodes, "active")


async def _move_volumes(client: Client, node: str) -> list[str]:
    """Move all data off a node that was paused for it, telling how far that is; return what stays, and why."""
    left = []
    for move in await client.post(f"/nodes/{node}/volumes/move"):
        if move["To"]:
            echo(f"moving {what(move)}")
        try:
            await follow(client, move["ID"])
        except CommandFailed as error:
            left.append(f"{', '.join(move['Volumes'])} is {error.message}")
    return left


def _not_drained(nodes: Iterable[str]) -> str:
    names = " ".join(nodes)
    advice = f"run this again, with --stop-stateful to stop these tasks, or swarm-manager node activate {names}"
    return f"not drained, but given no new tasks: {names}: {advice}"


async def _set(
    client: Client, references: Iterable[str], availability: str, query: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Set the availability of nodes and return their names by id."""
    done: dict[str, str] = {}

    async def change(reference: str) -> None:
        done[await _change(client, reference, availability, query)] = reference

    await each(references, change)
    return done


async def _change(client: Client, reference: str, availability: str, query: Mapping[str, str] | None = None) -> str:
    """Set the availability of a node and return its id."""
    node = await client.get(f"/nodes/{reference}")
    version = {"version": str(node["Version"]["Index"]), **(query or {})}
    await client.post(f"/nodes/{node['ID']}/update", {**node["Spec"], "Availability": availability}, version)
    return str(node["ID"])


async def _until_empty(client: Client, nodes: dict[str, str], due: float | None) -> None:
    """Wait until nothing runs on the nodes.

    Raises:
        CommandFailed: something still does at the deadline (`time.monotonic`); it is named.

    """
    async with event_feed(client) as feed:
        while left := await _remaining_tasks(client, nodes):
            if due is not None and time.monotonic() >= due:
                raise CommandFailed(_still_there(left, nodes, await _service_names(client)))
            within = MAX_INTERVAL if due is None else min(MAX_INTERVAL, due - time.monotonic())
            await feed.changed(feed.count, within)


async def _remaining_tasks(client: Client, nodes: dict[str, str]) -> list[Task]:
    tasks = await fetch(client, {"node": list(nodes)})
    return [task for task in tasks if not task.status.state.terminal]


async def _service_names(client: Client) -> dict[str, str]:
    return {each["ID"]: each["Spec"]["Name"] for each in await client.get("/services")}


def _still_there(left: list[Task], nodes: dict[str, str], services: dict[str, str]) -> str:
    shown = sorted(
        f"  {nodes.get(task.node_id, task.node_id)}: {services.get(task.service_id, '?')}.{task.slot or task.node_id}"
        for task in left
    )[:_NAMED_AT_MOST]
    more = [f"  … and {len(left) - len(shown)} more"] if len(left) > len(shown) else []
    head = "these tasks still run at the deadline; the nodes stay drained, and their tasks keep moving:"
    advice = "`swarm-manager service ps` says why a replacement cannot be placed"
    return "\n".join([head, *shown, *more, advice])
