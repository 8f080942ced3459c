"""`stack rm`: everything of a stack goes, and the command returns when it is gone (moby#29293)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import click

from manager.cli.client import Client
from manager.cli.converge import MAX_INTERVAL
from manager.cli.eventfeed import EventFeed, event_feed
from manager.cli.failures import ApiError, CommandFailed
from manager.cli.stack_deploy import of_stack

_KINDS = ("service", "secret", "config", "network")


@dataclass(frozen=True, slots=True)
class Left:
    """What is still there of a stack: counts of services and tasks, names of networks by id."""

    services: int
    tasks: int
    networks: dict[str, str]

    @property
    def nothing(self) -> bool:
        return not (self.services or self.tasks or self.networks)

    def __str__(self) -> str:
        parts = [
            f"{self.services} services",
            f"{self.tasks} tasks",
            *(f"network {name}" for name in self.networks.values()),
        ]
        return ", ".join(part for part in parts if not part.startswith("0 "))


async def remove(client: Client, stack: str, *, wait: bool, patience: float) -> None:
    """Remove a stack. Without `wait` a network that is in use is left to the manager's answer.

    Raises:
        CommandFailed: something could not be removed, or is not gone after `patience` seconds without progress.

    """
    found = {kind: await client.get(f"/{kind}s", of_stack(stack)) for kind in _KINDS}
    if not any(found.values()):
        click.echo(f"Nothing found in stack: {stack}", err=True)
        return
    problems: list[str] = []
    async with event_feed(client) as feed:
        for kind in _KINDS:
            for each in sorted(found[kind], key=_name):
                click.echo(f"Removing {kind} {_name(each)}")
                problems += await _remove_one(client, kind, each, patient=wait)
        if problems:
            raise CommandFailed("\n".join([*problems, f"failed to remove some resources from stack: {stack}"]))
        if wait:
            await _until_gone(client, stack, feed, patience)


def _name(each: Any) -> str:
    return str(each["Name"] if "Name" in each else each["Spec"]["Name"])


async def _remove_one(client: Client, kind: str, each: Any, *, patient: bool) -> list[str]:
    """Remove one object; that it is gone already is no problem, and one in use is none to who waits."""
    reference = each["Id"] if kind == "network" else each["ID"]
    try:
        await client.delete(f"/{kind}s/{reference}")
    except ApiError as error:
        if error.not_found or (patient and "in use" in error.reason):
            return []
        return [f"Failed to remove {kind} {_name(each)}: {error.message}"]
    return []


async def _until_gone(client: Client, stack: str, feed: EventFeed, patience: float) -> None:
    left, moved_at = await _left(client, stack), time.time()
    while not left.nothing:
        count = feed.count
        for network_id, name in left.networks.items():
            problems = await _remove_one(client, "network", {"Id": network_id, "Name": name}, patient=True)
            if problems:
                raise CommandFailed(problems[0])
        before, left = left, await _left(client, stack)
        if left != before:
            moved_at = time.time()
        elif time.time() - moved_at > patience:
            raise CommandFailed(
                f"stack {stack} is not gone after {patience:g} seconds; left are: {left}\n"
                f"`swarm-manager stack ps {stack}` shows its tasks. A task on a node that is down goes when the "
                "node is back or removed (swarm-manager node rm --force)."
            )
        elif not left.nothing:
            await feed.changed(count, MAX_INTERVAL)


async def _left(client: Client, stack: str) -> Left:
    query = of_stack(stack)
    networks = await client.get("/networks", query)
    return Left(
        services=len(await client.get("/services", query)),
        tasks=len(await client.get("/tasks", query)),
        networks={each["Id"]: each["Name"] for each in networks},
    )
