"""/images/{name}/…: what is done with one image, on the nodes that hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

import msgspec

from common.model import ImageName
from common.model.client import Role
from common.text.image_names import full_name, repository, split_tag, with_tag
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.engine.forward import forward
from manager.api.engine.proxy import EngineReply, ask, ask_all, raw_query
from manager.api.engine.types import ImageInspect
from manager.api.errors import EngineError, invalid
from manager.api.images.find import Located, find_held, own_first
from manager.api.images.names import Naming
from manager.api.images.on_node import image_on, image_path
from manager.api.images.own import refuse_own
from manager.api.images.progress import Progress, ProgressListener
from manager.api.images.record import NameChange, name_for, put, tagged_name, with_name
from manager.api.images.registry import builder, for_engine, has_credentials, own_engine
from manager.api.router import Route
from manager.api.services.container_validation import is_image
from manager.domain.hostnames import node_name
from manager.domain.image_use import image_record

ASK_SECONDS = 60.0


async def inspect_image(context: Context, call: Call) -> Reply:
    """Show an image as a node that holds it does, with the names that it has in the cluster."""
    node_id, reply = await _ask_holder(context, call, "json")
    if not reply.ok:
        return reply.answer()
    return Answer(value=Naming.of(context.store.view).inspected(node_id, reply.read(ImageInspect)))


async def history(context: Context, call: Call) -> Reply:
    return (await _ask_holder(context, call, "history"))[1].answer()


async def _ask_holder(context: Context, call: Call, what: str) -> tuple[str, EngineReply]:
    """Ask one of the nodes that hold an image; the next when that one is lost or does not have it after all.

    Raises:
        EngineError: 503, none of them answers; else as `find_held`.

    """
    located = await find_held(context, call.params["name"])
    path = image_path(located.image_id, what)
    replies: dict[str, EngineReply] = {}
    reasons: dict[str, str] = {}
    for nodes in (located.nodes[:1], located.nodes[1:]):
        found, missing = await on_nodes(context, nodes, "GET", path, call)
        replies |= found
        reasons |= missing
        good = next((node_id for node_id in nodes if node_id in found and found[node_id].ok), None)
        if good is not None:
            return good, found[good]
    return best(replies, reasons)


async def on_nodes(
    context: Context, nodes: Sequence[str], method: str, path: str, call: Call, query: str | None = None
) -> tuple[dict[str, EngineReply], dict[str, str]]:
    """Ask several nodes the same, with the client's query or another; results as `ask_all`'s."""
    text = raw_query(call) if query is None else query

    async def one(node_id: str) -> EngineReply:
        return await ask(context, node_id, method, path, version=call.version, query=text, seconds=ASK_SECONDS)

    return await ask_all(one, nodes, seconds=ASK_SECONDS)


def best(replies: Mapping[str, EngineReply], reasons: Mapping[str, str]) -> tuple[str, EngineReply]:
    """Return the best of several nodes' answers, and whose it is.

    Raises:
        EngineError: 503, no node answered.

    """
    if not replies:
        raise EngineError(503, f"no node that has the image answers: {'; '.join(reasons.values())}")
    return min(replies.items(), key=lambda each: each[1].status)


async def tag(context: Context, call: Call) -> Reply:
    """Give an image another name, in the cluster and on every node that holds it."""
    given = tagged_name(call.query)
    refuse_own([given])
    located = await find_held(context, call.params["name"])
    replies, reasons = await on_nodes(context, located.nodes, "POST", image_path(located.image_id, "tag"), call)
    _, reply = best(replies, reasons)
    if reply.ok and is_image(given):
        await _give(context, call, located.image_id, own_first(context, (n for n in replies if replies[n].ok)), given)
    return reply.answer()


async def _give(context: Context, call: Call, image_id: str, nodes: Sequence[str], given: str) -> None:
    """Write down that a name means this image from now on; `nodes` have given it that name."""
    done = NameChange("tag", call.caller, nodes[0])
    known = next(iter(context.store.view.image_names.of_image(image_id)), None)
    if known is not None:
        await put(context, [with_name(known, full_name(given), done)])
        return
    image = await image_on(context, nodes[0], image_id)
    if image is not None:
        await put(context, [name_for(full_name(given), image, done)])


# --- to a registry ----------------------------------------------------------------------------------------------------


async def push(context: Context, call: Call) -> Reply:
    """Push an image by its name, or without a tag all of a repository's names, from one node.

    Raises:
        EngineError: 409, there are credentials, and this manager's host has no engine to give them to.

    """
    name = call.params["name"]
    base, own_tag = split_tag(name)
    tag_name = call.query.get("tag", "") or own_tag  # clients say it in the query, in the path, or in both
    node_id = builder(context)
    if has_credentials(call) and own_engine(context) is None:
        raise EngineError(
            409,
            "registry credentials are given only to the engine of the manager's own host, which has no "
            "worker that is ready: run 'swarm-worker join' there, or push from a host with its own engine",
        )
    reference = f"{base}:{tag_name}" if tag_name else with_tag(name)
    names = [image_record(context.store.view, reference)] if tag_name else _of_repository(context, name)
    if not any(names):
        await find_held(context, reference)  # says what is wrong with it
    records = [each for each in names if each is not None]
    ids = [await _have_named(context, node_id, each) for each in records]

    async def pushed(_: Progress) -> None:
        for record, image_id in zip(records, ids, strict=True):
            await _note_pushed(context, call, node_id, record, image_id)

    call = for_engine(context, node_id, call)
    return forward(context, node_id, call, image_path(name, "push"), listener=ProgressListener(pushed))


def _of_repository(context: Context, name: str) -> list[ImageName | None]:
    wanted = repository(name)
    return [each for each in context.store.view.image_names if repository(each.id) == wanted and "@" not in each.id]


async def _have_named(context: Context, node_id: str, name: ImageName) -> str:
    """Have an image on a node, by its name in the cluster; return its id there.

    Raises:
        EngineError: 409, the engine there means another image by the name; else as `find_held`, `bring_image`.

    """
    located = await find_held(context, name.id)
    image_id = name.image_id
    if node_id not in located.nodes:
        image_id = await context.engines.bring_image(node_id, image_id)
    there = await image_on(context, node_id, name.id)
    if there is not None and there["Id"] != image_id:
        raise EngineError(
            409,
            f"the engine of node {node_name(context.store.view, node_id)} means another image by {name.id}, which was "
            "made there behind the manager's back: remove that, or give it another name there",
        )
    if there is None:
        query = {"repo": repository(name.id), "tag": name.id.rpartition(":")[2]}
        reply = await ask(context, node_id, "POST", image_path(image_id, "tag"), query=query)
        if not reply.ok:
            raise reply.error()
    return image_id


async def _note_pushed(context: Context, call: Call, node_id: str, name: ImageName, image_id: str) -> None:
    """Write down that a registry has an image by its name now, unless that was given to another meanwhile."""
    image = await image_on(context, node_id, image_id)
    now = context.store.view.image_names.get(name.id)
    if image is not None and now is not None and now.image_id == name.image_id:
        made = name_for(name.id, image, NameChange("push", call.caller, node_id))
        await put(context, [msgspec.structs.replace(made, image_id=name.image_id)])


# --- to an archive ----------------------------------------------------------------------------------------------------


async def save(context: Context, call: Call) -> Reply:
    """Write an archive of one image, or of all of a repository's that are asked for without a tag."""
    names = _names_to_save(context, call.params["name"])
    if len(names) > 1:
        return await _save(context, call, names)
    located = await find_held(context, names[0])
    node_id = located.nodes[0]
    return forward(context, node_id, call, image_path(await _reference_on_node(context, node_id, located), "get"))


async def save_several(context: Context, call: Call) -> Reply:
    """Write an archive of several images."""
    names = [value for key, value in parse_qsl(raw_query(call)) if key == "names"]
    if not names:
        raise invalid("no images to save: name them with 'names'")
    return await _save(context, call, [each for name in names for each in _names_to_save(context, name)])


def _names_to_save(context: Context, reference: str) -> list[str]:
    """Return the names of what is to be saved: without a tag those of the whole repository, as for an engine."""
    if "@" in reference or split_tag(reference)[1]:
        return [reference]
    return [each.id for each in _of_repository(context, reference) if each is not None] or [reference]


async def _save(context: Context, call: Call, names: Sequence[str]) -> Reply:
    """Write an archive of several images from one node; what has a name in the cluster can be had there.

    Raises:
        EngineError: 400, some have none, and no node has all.

    """
    query = parse_qsl(raw_query(call))
    found = [await find_held(context, name) for name in names]
    fixed = [each for each in found if each.name is None or "@" in each.name.id]
    nodes = [node_id for each in (*fixed, *found) for node_id in each.nodes]
    together = [node_id for node_id in nodes if all(node_id in each.nodes for each in fixed)]
    if not together:
        raise EngineError(400, f"no node has all of {', '.join(names)}: save them one by one")
    node_id = next((each for each in together if all(each in one.nodes for one in found)), together[0])
    saved = [("names", await _reference_on_node(context, node_id, each)) for each in found]
    others = [(key, value) for key, value in query if key != "names"]
    return forward(context, node_id, call, "/images/get", query=urlencode([*others, *saved]))


async def _reference_on_node(context: Context, node_id: str, located: Located) -> str:
    """Return what a node's engine is asked for: the name, which is in the archive then, where the client names one."""
    if located.name is None or "@" in located.name.id:
        return located.there or located.image_id
    await _have_named(context, node_id, located.name)
    return located.name.id


ROUTES = (
    Route("GET", "/images/get", save_several, needs=Role.OPERATOR, raw=True),
    Route("GET", "/images/{name+}/json", inspect_image, needs=Role.VIEWER),
    Route("GET", "/images/{name+}/history", history, needs=Role.VIEWER),
    Route("GET", "/images/{name+}/get", save, needs=Role.OPERATOR, raw=True),
    Route("POST", "/images/{name+}/tag", tag, needs=Role.OPERATOR),
    Route("POST", "/images/{name+}/push", push, needs=Role.OPERATOR, raw=True),
)
