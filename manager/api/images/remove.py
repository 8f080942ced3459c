"""DELETE /images/{name}: a name is taken from its image in the cluster, and the image goes with its last one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from common.model.client import Role
from common.text.image_names import repository
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.engine.answers import BadAnswer
from manager.api.engine.proxy import EngineReply, ask_all
from manager.api.engine.types import ImageInspect, Removed
from manager.api.errors import EngineError
from manager.api.images.find import Located, find_image, holders
from manager.api.images.on_node import image_on, image_path
from manager.api.images.record import unname
from manager.api.images.routes import ASK_SECONDS, best, on_nodes
from manager.api.router import Route
from manager.domain.image_use import services_needing

_LOG = logging.getLogger(__name__)


async def remove(context: Context, call: Call) -> Reply:
    """Take a name from an image, in the cluster and on every node; or remove an image with all its names, by its id.

    Raises:
        EngineError: 409, a service needs the image, and it would be gone; `force` removes it all the same.

    """
    located = await find_image(context, call.params["name"])
    if not call.flag("force"):
        _refuse_needed(context, call, located)
    if located.there:
        replies, reasons = await on_nodes(context, located.nodes, "DELETE", image_path(located.there), call)
        return best(replies, reasons)[1].answer()
    return Answer(value=await (_remove_name if located.name is not None else _remove_image)(context, call, located))


def _refuse_needed(context: Context, call: Call, located: Located) -> None:
    view = context.store.view
    needing = services_needing(view, located.image_id)
    left = len(view.image_names.of_image(located.image_id)) - 1 if located.name is not None else 0
    if needing and not left:
        raise EngineError(
            409,
            f"conflict: unable to remove {call.params['name']} (must force) - "
            f"service {', '.join(needing)} uses its image, which no registry has",
        )


async def _remove_name(context: Context, call: Call, located: Located) -> list[Removed]:
    name = located.name
    assert name is not None, "the caller has looked"
    there = await _on_each(context, located.nodes, name.id)
    named = [node_id for node_id, image in there.items() if image["Id"] == name.image_id]
    replies, reasons = await on_nodes(context, named, "DELETE", image_path(name.id), call)
    good = [reply for reply in replies.values() if reply.ok]
    if replies and not good and not call.flag("force"):
        raise best(replies, reasons)[1].error()
    await unname(context, lambda each: each.image_id == name.image_id, [name.id])
    removed = _merge_removed([[{"Untagged": name.id}], *await _read_removed(good)])
    if not context.store.view.image_names.of_image(name.image_id):
        removed = _merge_removed([removed, *await _read_removed(await _remove_copies(context, call, name.image_id))])
    return removed


async def _remove_image(context: Context, call: Call, located: Located) -> list[Removed]:
    names = [name.id for name in context.store.view.image_names.of_image(located.image_id)]
    if len({repository(name) for name in names}) > 1 and not call.flag("force"):
        raise EngineError(
            409,
            f"conflict: unable to delete {located.image_id[7:19]} (must be forced) - "
            f"image is referenced in multiple repositories: {', '.join(sorted(names))}",
        )
    replies, reasons = await on_nodes(context, located.nodes, "DELETE", image_path(located.image_id), call)
    good = [reply for reply in replies.values() if reply.ok]
    if not good:
        raise best(replies, reasons)[1].error()
    await unname(context, lambda each: each.image_id == located.image_id, names)
    return _merge_removed([[{"Untagged": name} for name in sorted(names)], *await _read_removed(good)])


async def _remove_copies(context: Context, call: Call, image_id: str) -> list[EngineReply]:
    """Remove what nodes fetched of an image that has lost its last name; containers there keep it."""
    nodes = await holders(context, image_id)
    found = await _on_each(context, nodes, image_id)
    nameless = [node_id for node_id, image in found.items() if not image.get("RepoTags")]
    replies, _ = await on_nodes(context, nameless, "DELETE", image_path(image_id), call, query="")
    return [reply for reply in replies.values() if reply.ok]


async def _on_each(context: Context, nodes: Sequence[str], reference: str) -> Mapping[str, ImageInspect]:
    """Return what each of these nodes has by a reference; those that have nothing, or do not say, are left out."""

    async def one(node_id: str) -> ImageInspect | None:
        return await image_on(context, node_id, reference)

    found, _ = await ask_all(one, nodes, seconds=ASK_SECONDS)
    return {node_id: image for node_id, image in found.items() if image is not None}


async def _read_removed(replies: Iterable[EngineReply]) -> list[list[Removed]]:
    """Read what engines say they have removed; one that says nonsense has done it all the same, or not."""
    found = []
    for reply in replies:
        try:
            found.append(await reply.listed(Removed))
        except BadAnswer as error:
            _LOG.warning("%s", error.message)
    return found


def _merge_removed(lists: Iterable[list[Removed]]) -> list[Removed]:
    """Join what was removed, each thing once."""
    return list({tuple(sorted(item.items())): item for items in lists for item in items}.values())


ROUTES = (Route("DELETE", "/images/{name+}", remove, needs=Role.OPERATOR),)
