"""/images: the images of all nodes as one set; what changes one is done on every node that has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl, quote

from common.imagenames import with_tag
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.engine_types import ImageInspect, Removed
from manager.api.errors import EngineError, invalid
from manager.api.images_find import Located, builder, find_image
from manager.api.proxy import EngineReply, ask, ask_all, forward, raw_query
from manager.api.router import Route
from manager.state.imageuse import services_needing

ASK_SECONDS = 60.0


async def inspect_image(context: Context, call: Call) -> Reply:
    return await _ask_holder(context, call, "json")


async def history(context: Context, call: Call) -> Reply:
    return await _ask_holder(context, call, "history")


async def _ask_holder(context: Context, call: Call, what: str) -> Reply:
    """Ask one of the nodes that have an image; the next when that one is lost."""
    located = await find_image(context, call.params["name"])
    path = image_path(call.params["name"], what)
    replies, reasons = await _on_nodes(context, located.nodes[:1], "GET", path, call)
    if not replies:
        replies, more = await _on_nodes(context, located.nodes[1:], "GET", path, call)
        reasons |= more
    return _best(replies, reasons)


async def _on_nodes(
    context: Context, nodes: Sequence[str], method: str, path: str, call: Call, query: str | None = None
) -> tuple[dict[str, EngineReply], dict[str, str]]:
    text = raw_query(call) if query is None else query

    async def one(node_id: str) -> EngineReply:
        return await ask(context, node_id, method, path, version=call.version, query=text, seconds=ASK_SECONDS)

    return await ask_all(one, nodes, seconds=ASK_SECONDS)


def _best(replies: Mapping[str, EngineReply], reasons: Mapping[str, str]) -> Answer:
    """Return the best of several nodes' answers.

    Raises:
        EngineError: 503, there is none.

    """
    if not replies:
        raise EngineError(503, f"no node that has the image answers: {'; '.join(reasons.values())}")
    return min(replies.values(), key=lambda reply: reply.status).answer()


def image_path(name: str, what: str = "") -> str:
    path = f"/images/{quote(name, safe='/:@')}"
    return f"{path}/{what}" if what else path


async def tag(context: Context, call: Call) -> Reply:
    """Give an image another name, on every node that has it: the name lasts as long as one of them."""
    located = await find_image(context, call.params["name"])
    path = image_path(located.image_id, "tag")
    replies, reasons = await _on_nodes(context, located.nodes, "POST", path, call)
    return _best(replies, reasons)


async def push(context: Context, call: Call) -> Reply:
    """Push from a node that has the image. The name there must be the one that is meant."""
    name, tag_name = call.params["name"], call.query.get("tag", "")
    located = await find_image(context, f"{name}:{tag_name}" if tag_name else with_tag(name))
    return forward(context, located.nodes[0], call, image_path(name, "push"))


async def save(context: Context, call: Call) -> Reply:
    """Write an archive of one image."""
    name = call.params["name"]
    located = await find_image(context, name)
    return forward(context, located.nodes[0], call, image_path(name, "get"))


async def save_several(context: Context, call: Call) -> Reply:
    """Write an archive of several images, which one node must have all of."""
    names = [value for key, value in parse_qsl(raw_query(call)) if key == "names"]
    if not names:
        raise invalid("no images to save: name some with 'names'")
    located = [await find_image(context, name) for name in names]
    together = set(located[0].nodes).intersection(*(each.nodes for each in located))
    if not together:
        raise EngineError(400, f"no node has all of {', '.join(names)}: save them one by one")
    return forward(context, min(together), call, "/images/get")


async def load(context: Context, call: Call) -> Reply:
    """Load an archive on one node; others fetch from there what they need."""
    return forward(context, builder(context), call, "/images/load")


async def create(context: Context, call: Call) -> Reply:
    """Pull, or import an archive, on one node. Services' tasks pull on their own nodes."""
    return forward(context, builder(context), call, "/images/create")


async def search(context: Context, call: Call) -> Reply:
    """Search a registry."""
    return forward(context, builder(context), call, "/images/search")


async def remove(context: Context, call: Call) -> Reply:
    """Take a name from an image on every node, and remove it where that was its last.

    Raises:
        EngineError: 409, a service names the image, and it would be gone; `force` does it all the same.

    """
    name = call.params["name"]
    located = await find_image(context, name)
    if not call.flag("force"):
        await _refuse_needed(context, name, located)
    replies, reasons = await _on_nodes(context, located.nodes, "DELETE", image_path(name), call)
    good = {node: reply for node, reply in replies.items() if reply.ok}
    if not good:
        return _best(replies, reasons)
    removed = await _merged(good.values())
    if {"Deleted": located.image_id} in removed:
        removed = await _merged([*good.values(), *await _remove_copies(context, call, located)])
    return Answer(value=removed)


async def _remove_copies(context: Context, call: Call, located: Located) -> list[EngineReply]:
    """Remove what other nodes fetched of an image that has lost its last name; containers there keep it."""
    holders = await context.engines.locate_image(located.image_id)
    others = [node for node, seen in holders.items() if node not in located.nodes and not seen.tagged_at]
    replies, _ = await _on_nodes(context, others, "DELETE", image_path(located.image_id), call, query="")
    return [reply for reply in replies.values() if reply.ok]


async def _merged(replies: Iterable[EngineReply]) -> list[Removed]:
    """Join what engines removed, each thing once."""
    seen: dict[tuple[tuple[str, str], ...], Removed] = {}
    for reply in replies:
        for item in await reply.listed(Removed):
            seen.setdefault(tuple(sorted(item.items())), item)  # type: ignore[arg-type]  # both fields are texts
    return list(seen.values())


async def _refuse_needed(context: Context, name: str, located: Located) -> None:
    needing = services_needing(context.store.view, located.image_id)
    if not needing:
        return
    reply = await ask(context, located.nodes[0], "GET", image_path(located.image_id, "json"))
    names = (reply.read(ImageInspect).get("RepoTags") or []) if reply.ok else []
    if with_tag(name) in names and len(names) > 1:
        return
    raise EngineError(
        409,
        f"conflict: unable to remove {name} (must force) - "
        f"service {', '.join(needing)} uses its image, which no registry has",
    )


ROUTES = (
    Route("GET", "/images/get", save_several, needs=Role.OPERATOR, raw=True),
    Route("GET", "/images/search", search, needs=Role.OPERATOR, raw=True),
    Route("POST", "/images/load", load, needs=Role.OPERATOR, raw=True),
    Route("POST", "/images/create", create, needs=Role.OPERATOR, raw=True),
    Route("GET", "/images/{name+}/json", inspect_image, needs=Role.VIEWER),
    Route("GET", "/images/{name+}/history", history, needs=Role.VIEWER),
    Route("GET", "/images/{name+}/get", save, needs=Role.OPERATOR, raw=True),
    Route("POST", "/images/{name+}/tag", tag, needs=Role.OPERATOR),
    Route("POST", "/images/{name+}/push", push, needs=Role.OPERATOR, raw=True),
    Route("DELETE", "/images/{name+}", remove, needs=Role.OPERATOR),
)
