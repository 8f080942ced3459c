"""Which node has a container: by the tasks in the store, by what was seen before, else by asking all nodes at once.

A name is unique in the whole cluster. An id is that of one container on one node, though several nodes may claim it:
the one that created it through this API, or was the first to be seen with it, as long as it still claims it; else the
node of the task that has it.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from common.errors import Unavailable
from common.ids import ID_LENGTH
from common.model import Task
from manager.api.containers.index import Claim, ContainerIndex
from manager.api.context import Context
from manager.api.engine.presence import is_ready, ready_ids, ready_nodes
from manager.api.engine.proxy import ask, ask_all
from manager.api.engine.types import ContainerInspect
from manager.api.errors import EngineError
from manager.domain.hostnames import node_name
from manager.store.view import View

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
    known = context.containers.find(reference)
    if known is not None and known[0].node_id not in view.nodes:
        context.containers.forget(known[1])
        known = None
    if known is not None:
        return Found(known[0].node_id, known[1], known[0].name)
    task = _task_of(view, reference)
    if task is not None:
        return Found(task.node_id, task.container, task.name)
    return await _find_by_name(context, reference.removeprefix("/")) or await search_nodes(context, reference)


def _task_of(view: View, reference: str) -> Task | None:
    """Return the task whose container has this name, or an id that begins with these (at least twelve) digits.

    Raises:
        EngineError: 409, workers report the id for containers of several tasks.

    """
    named = view.tasks.get(reference.rpartition(".")[2][:ID_LENGTH])
    if named is not None and named.name == reference.removeprefix("/") and named.container:
        return named
    if _LONG_PREFIX.fullmatch(reference) is None:
        return None
    found = [task for task in view.tasks.of_container(reference) if task.container.startswith(reference)]
    nodes = {task.node_id for task in found}
    if len(nodes) > 1:
        raise several_owners_error(view, reference, nodes, ": use the name of its task")
    return found[0] if found else None


async def _find_by_name(context: Context, name: str) -> Found | None:
    """Return the container that was given a name through this API, if it is still there by that name."""
    known = context.containers.named(name)
    if known is None:
        return None
    holder, full_id = known
    found = await _inspect(context, holder.node_id, full_id)
    if found is None or (found.id, found.name) != (full_id, name):
        context.containers.forget(full_id)
        return None
    return found


async def search_nodes(context: Context, reference: str) -> Found:
    """Ask every ready node; once one has it, the others are waited for only a little longer.

    What is found is remembered if all have answered; else another may turn out to have it, too.
    """
    view = context.store.view
    asked = {asyncio.ensure_future(_inspect(context, node.id, reference)): node.id for node in ready_nodes(view)}
    said = NodeAnswers()
    waiting = set(asked)
    deadline = asyncio.get_running_loop().time() + LOOK_SECONDS
    try:
        while waiting and (rest := deadline - asyncio.get_running_loop().time()) > 0:
            done, waiting = await asyncio.wait(waiting, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                _collect(each, node_name(view, asked[each]), said)
            if said.found:
                deadline = min(deadline, asyncio.get_running_loop().time() + GRACE_SECONDS)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    said.silent += [node_name(view, asked[each]) for each in waiting]
    chosen = choose_match(reference, said, view)
    if not said.silent:
        context.containers.put(chosen.id, chosen.node_id)
    return chosen


@dataclass(slots=True)
class NodeAnswers:
    """What nodes said when they were asked for a container.

    `silent` are the names of those that did not answer, `ambiguous` the errors of engines on which several containers'
    ids have that prefix.
    """

    found: list[Found] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    ambiguous: list[EngineError] = field(default_factory=list)


def _collect(each: asyncio.Future[Found | None], node: str, said: NodeAnswers) -> None:
    try:
        result = each.result()
    except Unavailable:
        said.silent.append(node)
    except EngineError as error:
        said.ambiguous.append(error)
    else:
        if result is not None:
            said.found.append(result)


async def _inspect(context: Context, node_id: str, reference: str) -> Found | None:
    """Ask one node for a container.

    Raises:
        EngineError: 400, it is a prefix of several ids there.
        Unavailable: the node does not answer.

    """
    asked = reference.removeprefix("/")
    reply = await ask(context, node_id, "GET", f"/containers/{asked}/json")
    if reply.status == HTTPStatus.NOT_FOUND:
        return None
    if reply.status == HTTPStatus.BAD_REQUEST:
        raise reply.error()
    if not reply.ok:
        raise Unavailable(f"node {reply.node}: {reply.message}")
    answer = reply.read(ContainerInspect)
    found = Found(node_id, answer["Id"], answer["Name"].removeprefix("/"))
    if found.name != asked and not found.id.startswith(asked):
        raise reply.wrong(f"it is about container {found.id[:12]}, which was not asked for")
    return found


def choose_match(reference: str, said: NodeAnswers, view: View) -> Found:
    """Choose the container that is meant among those of the nodes: an id before a name before a prefix. Pure.

    What looks like an id is never taken for a name: no node can name a container like the beginning of another's id.

    Raises:
        EngineError: 404, no node has it; 400, there are several; 409, several nodes claim the same one.
        Unavailable: no node has it, but one that may have it did not answer.

    """
    name = reference.removeprefix("/")
    named = [] if _LONG_PREFIX.fullmatch(name) else [one for one in said.found if one.name == name]
    matches = [one for one in said.found if one.id == name] or named
    if not matches and said.ambiguous:
        raise said.ambiguous[0]
    matches = matches or said.found
    if not matches:
        down = {node_name(view, node.id) for node in view.nodes if node.agent and not is_ready(node)}
        away = ", ".join(sorted({*said.silent, *down}))
        missing = f" (not asked, as they do not answer: {away})" if away else ""
        if said.silent:  # a 404 would tell clients that it is gone
            raise Unavailable(f"container {reference} was not found{missing}: try again")
        raise EngineError(404, f"No such container: {reference}{missing}")
    if len(matches) > 1:
        if len({one.id for one in matches}) == 1:
            raise several_owners_error(view, matches[0].id[:12], [one.node_id for one in matches])
        where = ", ".join(sorted(f"{one.id[:12]} on {node_name(view, one.node_id)}" for one in matches))
        raise EngineError(400, f"{reference} means several containers: {where}: use one of these IDs")
    return matches[0]


# --- containers that several nodes claim ---


def task_nodes(view: View) -> dict[str, str]:
    """Return the node of each task's container, by full id; an empty text where tasks of several nodes claim it."""
    nodes: dict[str, str] = {}
    for task in view.tasks:
        full_id = task.container
        if full_id:
            nodes[full_id] = task.node_id if nodes.get(full_id, task.node_id) == task.node_id else ""
    return nodes


def resolve_owners(
    index: ContainerIndex, view: View, listed: Mapping[str, Collection[str]], *, whole: bool
) -> dict[tuple[str, str], str]:
    """Find out whose the listed containers are; `listed` has ids by node, `whole`: all that each node has.

    Returns the owner by (node, id) for each container that is another node's than the one that lists it. The index
    remembers the owners of the others, where they are certain.
    """
    of_tasks = task_nodes(view)
    claims = Counter(full_id for ids in listed.values() for full_id in set(ids))
    others: dict[tuple[str, str], str] = {}
    for node_id, ids in listed.items():
        for full_id in ids:
            holder = _holder(index, view, listed if whole else {}, full_id, of_tasks)
            if holder not in ("", node_id):
                others[node_id, full_id] = holder
            elif holder or claims[full_id] == 1:
                index.put(full_id, node_id)
    return others


def _holder(
    index: ContainerIndex,
    view: View,
    whole_lists: Mapping[str, Collection[str]],
    full_id: str,
    of_tasks: Mapping[str, str],
) -> str:
    """Return the node that has a container, empty if unknown. The index forgets a holder that no longer lists it."""
    known = index.holder(full_id)
    if known is not None and (
        known.node_id not in view.nodes or full_id not in whole_lists.get(known.node_id, (full_id,))
    ):
        index.forget(full_id)
        known = None
    return known.node_id if known is not None else of_tasks.get(full_id, "")


def remember_created(index: ContainerIndex, view: View, full_id: str, node_id: str, name: str) -> bool:
    """Remember what a node's engine has just created; False if the id is that of another node's container."""
    return task_nodes(view).get(full_id, node_id) == node_id and index.put(full_id, node_id, made=True, name=name)


def misclaim_reasons(view: View, others: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Say by node that it lists containers of other nodes."""
    return dict(_misclaims(view, others))


def _misclaims(view: View, others: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    counts = Counter(node_id for node_id, _ in others)
    for (node_id, full_id), holder in others.items():
        more = f", and {counts[node_id] - 1} more of others" if counts[node_id] > 1 else ""
        yield node_id, f"it lists container {full_id[:12]}, which is on node {node_name(view, holder)}{more}"


def several_owners_error(view: View, reference: str, nodes: Collection[str], hint: str = "") -> EngineError:
    """Return the error that several nodes claim one container."""
    names = ", ".join(sorted(node_name(view, node_id) for node_id in nodes))
    text = f"nodes {names} all claim container {reference}, which can be on one node only{hint}"
    return EngineError(409, text)


def conflict(name: str, holder: str) -> EngineError:
    """Return the error for a name that is taken, in the engine's words."""
    return EngineError(
        409,
        f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
    )


async def check_name(context: Context, name: str, except_id: str = "") -> None:
    """Check on all nodes that answer that no container has the name, except the one with the id `except_id`.

    Raises:
        EngineError: 409, one has it.

    """

    async def one(node_id: str) -> ContainerInspect | None:
        reply = await ask(context, node_id, "GET", f"/containers/{name}/json", seconds=None)
        return reply.read(ContainerInspect) if reply.ok else None

    results, _ = await ask_all(one, ready_ids(context.store.view), seconds=LOOK_SECONDS)
    for found in results.values():
        if found is not None and found["Name"] == f"/{name}" and found["Id"] != except_id:
            raise conflict(name, found["Id"])


def check_claims(context: Context, name: str, since: float) -> None:
    """Raise 409 if a container of that name is being created, or was since an instant (Unix seconds)."""
    if name and any(claim.name == name for claim in context.containers.claims(since)):
        raise conflict(name, "that is being created")


@asynccontextmanager
async def claim_name(context: Context, name: str, node_id: str, except_id: str) -> AsyncIterator[None]:
    """Reserve a name while the block gives it to a container.

    Raises:
        EngineError: 409, the name is taken.

    """
    name = name.removeprefix("/")
    check_claims(context, name, context.clock.now())
    claim = Claim(node_id, name)
    context.containers.claim(claim)
    try:
        if name:
            await check_name(context, name, except_id)
        yield
    except BaseException:
        context.containers.release(claim)
        raise
    context.containers.finish(claim, context.clock.now())
