"""Which node has a container: by the tasks in the store, by what was seen before, else by asking all nodes at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from common.errors import Unavailable
from common.ids import ID_LENGTH
from common.model import Task
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.proxy import ask
from manager.api.proxy_presence import is_ready, node_name, ready_nodes
from manager.state.view import View

LOOK_SECONDS = 5.0
# When one node has it, how much longer the others may take to say that they have one of that name, too.
GRACE_SECONDS = 1.0
_LONG_PREFIX = re.compile(r"[0-9a-f]{12,64}")
_REFERENCE = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]{0,1023}")


@dataclass(frozen=True, slots=True)
class Found:
    """A container: its node, its full id, and its name where it was seen (empty otherwise)."""

    node_id: str
    id: str
    name: str = ""


async def locate(context: Context, reference: str) -> Found:
    """Find the one container that a full id, a name or a prefix of an id means, in this order, as an engine does.

    Raises:
        EngineError: 404, no node that answered has it; 400, several have.

    """
    if _REFERENCE.fullmatch(reference) is None:
        raise EngineError(404, f"No such container: {reference}")
    view = context.store.view
    task = _task_of(view, reference)
    if task is not None and task.status.container_status is not None:
        return Found(task.node_id, task.status.container_status.container_id, task.name)
    known = context.containers.find(reference)
    if known is not None:
        if known[0] in view.nodes:
            return Found(*known)
        context.containers.forget(known[1])
    found = await look(context, reference)
    context.containers.put(found.id, found.node_id)
    return found


def _task_of(view: View, reference: str) -> Task | None:
    """Return the task whose container is meant by its name, or by at least twelve digits of its id."""
    named = view.tasks.get(reference.rpartition(".")[2][:ID_LENGTH])
    if named is not None and named.name == reference.removeprefix("/") and _container(named):
        return named
    if _LONG_PREFIX.fullmatch(reference) is None:
        return None
    return next((task for task in view.tasks if _container(task).startswith(reference)), None)


def _container(task: Task) -> str:
    return task.status.container_status.container_id if task.status.container_status is not None else ""


async def look(context: Context, reference: str) -> Found:
    """Ask every node that is there; one that does not answer is not waited for once another has it."""
    view = context.store.view
    asked = {asyncio.ensure_future(_inspect(context, node.id, reference)): node.id for node in ready_nodes(view)}
    found: list[Found] = []
    silent: list[str] = []
    waiting = set(asked)
    deadline = asyncio.get_running_loop().time() + LOOK_SECONDS
    try:
        while waiting and (rest := deadline - asyncio.get_running_loop().time()) > 0:
            done, waiting = await asyncio.wait(waiting, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                _collect(each, asked[each], found, silent)
            if any(one.id == reference for one in found):
                break
            if found:
                deadline = min(deadline, asyncio.get_running_loop().time() + GRACE_SECONDS)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    silent += [asked[each] for each in waiting]
    names = {node.id: node_name(view, node.id) for node in view.nodes}
    down = [node_name(view, node.id) for node in view.nodes if node.agent and not is_ready(node)]
    return choose(reference, found, [node_name(view, each) for each in silent], down, names)


def _collect(each: asyncio.Future[Found | None], node_id: str, found: list[Found], silent: list[str]) -> None:
    try:
        result = each.result()
    except Unavailable:
        silent.append(node_id)
    else:
        if result is not None:
            found.append(result)


async def _inspect(context: Context, node_id: str, reference: str) -> Found | None:
    reply = await ask(context, node_id, "GET", f"/containers/{reference.removeprefix('/')}/json")
    if reply.status == 404:
        return None
    if not reply.ok:
        raise reply.error()  # a prefix that is not unique even there
    answer = reply.json()
    return Found(node_id, answer["Id"], answer["Name"].removeprefix("/"))


def choose(
    reference: str, found: Iterable[Found], silent: Collection[str], down: Collection[str], names: Mapping[str, str]
) -> Found:
    """Choose what is meant among what the nodes have: an id before a name before a prefix. Pure.

    `silent` are the names of nodes that should have answered and did not, `down` of those that are known to be lost;
    `names` are all nodes' names by id.

    Raises:
        EngineError: 404, there is none; 400, there are several.
        Unavailable: there is none, but a node that may have it did not answer.

    """
    name = reference.removeprefix("/")
    kinds = [[one for one in found if one.id == name], [one for one in found if one.name == name], list(found)]
    matches = next((kind for kind in kinds if kind), [])
    if not matches:
        missing = (
            f" (not asked, as they do not answer: {', '.join(sorted({*silent, *down}))})" if silent or down else ""
        )
        if silent:  # a 404 would tell clients that it is gone
            raise Unavailable(f"container {reference} was not found{missing}: try again")
        raise EngineError(404, f"No such container: {reference}{missing}")
    if len(matches) > 1:
        where = ", ".join(sorted(f"{one.id[:12]} on {names.get(one.node_id, one.node_id)}" for one in matches))
        raise EngineError(400, f"{reference} means several containers: {where}; use one of these ids")
    return matches[0]
