"""`stack rm`: everything of a stack goes, and the command returns when it is gone (moby#29293)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.failures import ApiError, CommandFailed
from manager.cli.progress.converge import MAX_INTERVAL
from manager.cli.progress.event_feed import EventFeed, event_feed
from manager.cli.stack.deploy import of_stack

_SERVICES_FIRST = ("service", "secret", "config", "network")
_IN_USE_FOR_A_WHILE = ("secret", "config", "network")
# Without tasks of its own, what a stack's objects are in use by is not the stack's, and will not go with it.
_PATIENCE_WITH_OTHERS = 3.0
# After so many seconds it is told what is waited for.
_UNTOLD = 1.0


@dataclass(frozen=True, slots=True)
class Left:
    """What is still there of a stack: counts of services and tasks; of each other object its kind, id and name."""

    services: int
    tasks: int
    objects: tuple[tuple[str, str, str], ...]

    @property
    def nothing(self) -> bool:
        return not (self.services or self.tasks or self.objects)

    @property
    def only_objects(self) -> bool:
        return not (self.services or self.tasks)

    def __str__(self) -> str:
        both = ((self.services, "service"), (self.tasks, "task"))
        counts = [f"{count} {what}{'' if count == 1 else 's'}" for count, what in both if count]
        return ", ".join([*counts, *(f"{kind} {name}" for kind, _, name in self.objects)])


async def remove(client: Client, stack: str, *, wait: bool, patience: float) -> None:
    """Remove a stack. Objects that its tasks still use are removed when these are gone, if we `wait`.

    Raises:
        CommandFailed: something could not be removed, as another stack uses it, or is not gone after `patience` seconds
            without progress.

    """
    found = {kind: await client.get(f"/{kind}s", of_stack(stack)) for kind in _SERVICES_FIRST}
    if not any(found.values()):
        echo(f"Nothing found in stack: {stack}", err=True)
        return
    problems: list[str] = []
    async with event_feed(client) as feed:
        for kind in _SERVICES_FIRST:
            for each in sorted(found[kind], key=_name):
                echo(f"Removing {kind} {_name(each)}")
                problem = await _remove_one(client, kind, _id(each), _name(each))
                if problem and not (wait and kind in _IN_USE_FOR_A_WHILE):
                    problems.append(problem)
        if problems:
            raise CommandFailed("\n".join([*problems, _incomplete(stack)]))
        if wait:
            try:
                await _until_gone(client, stack, feed, patience)
            except asyncio.CancelledError:
                echo(_unfinished(stack), err=True)
                raise


def _name(each: Any) -> str:
    return str(each["Name"] if "Name" in each else each["Spec"]["Name"])


def _id(each: Any) -> str:
    return str(each["Id"] if "Id" in each else each["ID"])


async def _remove_one(client: Client, kind: str, reference: str, name: str) -> str:
    """Remove one object and return what went wrong; that it is gone already is not wrong."""
    try:
        await client.delete(f"/{kind}s/{reference}")
    except ApiError as error:
        return "" if error.not_found else f"Failed to remove {kind} {name}: {error.message}"
    return ""


async def _until_gone(client: Client, stack: str, feed: EventFeed, patience: float) -> None:
    left, moved_at = await _remaining(client, stack), time.time()
    begun_at, told = moved_at, ""
    while not left.nothing:
        if str(left) != told and time.time() - begun_at > _UNTOLD:
            told = str(left)
            echo(f"Waiting for {told}", err=True)
        count = feed.count
        problems = [await _remove_one(client, *each) for each in left.objects]
        before, left = left, await _remaining(client, stack)
        if left != before:
            moved_at = time.time()
        elif time.time() - moved_at > patience:
            raise CommandFailed("\n".join([_still_there(stack, left, patience), *filter(None, problems)]))
        elif left.only_objects and time.time() - moved_at > _PATIENCE_WITH_OTHERS and all(problems):
            raise CommandFailed("\n".join([*problems, _incomplete(stack)]))
        else:
            await feed.changed(count, MAX_INTERVAL)


def _unfinished(stack: str) -> str:
    return (
        f"\nThe tasks of stack {stack} end by themselves; its networks, secrets and configs stay until the same "
        f"command is run again. 'swarm-manager stack ps {stack}' shows what still runs."
    )


def _incomplete(stack: str) -> str:
    return f"failed to remove some resources from stack: {stack}"


def _still_there(stack: str, left: Left, patience: float) -> str:
    return (
        f"stack {stack} still exists after {patience:g} seconds: {left}\n"
        f"`swarm-manager stack ps {stack}` shows its tasks. A task on a node that is down goes when "
        "the node is back, or is removed (swarm-manager node rm --force)."
    )


async def _remaining(client: Client, stack: str) -> Left:
    query = of_stack(stack)
    objects = [
        (kind, _id(each), _name(each)) for kind in _IN_USE_FOR_A_WHILE for each in await client.get(f"/{kind}s", query)
    ]
    return Left(
        services=len(await client.get("/services", query)),
        tasks=len(await client.get("/tasks", query)),
        objects=tuple(sorted(objects)),
    )
