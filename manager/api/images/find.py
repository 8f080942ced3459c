"""Which image a reference means in the cluster, and which nodes hold it.

A name means what a client of the cluster made of it, whatever nodes say. They are asked who holds which image, by its
id, and each is believed of itself alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.clock import rfc3339
from common.model import ImageName
from common.text.image_names import begins_with, full_name, is_id, is_id_prefix, pinned_digest, with_tag
from manager.api.context import Context
from manager.api.engine.proxy import ask_every
from manager.api.errors import EngineError
from manager.api.images.on_node import image_path, images_on
from manager.api.images.own import domains, engine_name, node_of, own_name, parse_own
from manager.api.services.container_validation import is_image
from manager.domain.image_use import image_record

LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Located:
    """The image that is meant, and the nodes that say they hold it, this manager's own host first.

    `name` is the record of the name that it was asked for by; `there`, what the one node's engine calls it whose own
    name it was asked for by.
    """

    image_id: str
    nodes: tuple[str, ...] = ()
    name: ImageName | None = None
    there: str = ""


async def find_held(context: Context, reference: str) -> Located:
    """Find the image that a reference means, and at least one node that holds it.

    Raises:
        EngineError: as `find_image`; 404, no connected node holds it.

    """
    located = await find_image(context, reference)
    if located.nodes:
        return located
    meaning = f": it is {describe(located.name)}" if located.name is not None else ""
    raise EngineError(404, f"No such image: {_normalise(reference)}{meaning}; no connected node holds it")


async def find_image(context: Context, reference: str) -> Located:
    """Find the image that a name, an id or the beginning of an id means.

    Raises:
        EngineError: 400, it is not an image reference, or the beginning of several ids; 404, it means nothing.

    """
    if not is_image(reference) and not is_id(reference):
        raise EngineError(400, f"invalid reference format: {reference[:200]!r} is not an image name")
    if parse_own(reference) is not None:
        return await _find_own(context, reference)
    name = image_record(context.store.view, reference)
    if name is not None:
        return Located(name.image_id, await holders(context, name.image_id), name)
    image_id = pinned_digest(reference)
    if not image_id and is_id_prefix(reference):
        image_id = await complete_id(context, reference)
    nodes = await holders(context, image_id) if image_id else ()
    if not nodes:
        raise EngineError(404, f"No such image: {_normalise(reference)}{await _describe_unadopted(context, reference)}")
    return Located(image_id, nodes)


async def holders(context: Context, image_id: str) -> tuple[str, ...]:
    """Return the nodes that say they hold an image, this manager's own host first: what that says can be trusted."""
    return own_first(context, await context.engines.image_holders(image_id))


def own_first(context: Context, nodes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(nodes, key=lambda node_id: (node_id != context.identity.node_id, node_id)))


async def complete_id(context: Context, beginning: str) -> str:
    """Return the one image id that begins so: of those that have names, else of all that nodes hold; empty if none.

    Raises:
        EngineError: 400, several do.

    """
    ids = {name.image_id for name in context.store.view.image_names if begins_with(name.image_id, beginning)}
    ids = ids or set((await context.engines.image_holders(beginning)).values())
    if len(ids) > 1:
        raise EngineError(400, f"{beginning} is the beginning of several image IDs: {', '.join(sorted(ids))}")
    return next(iter(ids), "")


async def _find_own(context: Context, reference: str) -> Located:
    """Find what a single node's engine has by a name of its own."""
    own = parse_own(reference)
    assert own is not None, "the caller has looked"
    node = node_of(context.store.view, own)
    there, image_id = engine_name(own, await images_on(context, node.id, seconds=LOOK_SECONDS))
    return Located(image_id, (node.id,), there=there)


async def _describe_unadopted(context: Context, reference: str) -> str:
    """Say which nodes have an image of their own by a name that no client has given; empty if none."""
    if pinned_digest(reference):
        return ""
    replies, _ = await ask_every(context, "GET", image_path(reference, "json"), seconds=LOOK_SECONDS)
    by_node = domains(context.store.view.nodes)
    found = [own_name(by_node[node_id], full_name(reference)) for node_id, reply in replies.items() if reply.ok]
    if not any(found):
        return ""
    shown = ", ".join(sorted(filter(None, found))[:4])
    return f"; nodes have their own by that name ({shown}): 'swarm-manager image adopt' makes one the cluster's"


def _normalise(reference: str) -> str:
    return reference if pinned_digest(reference) else with_tag(reference)


def describe(name: ImageName) -> str:
    """Say what a name means, and who made it so."""
    return f"image {name.image_id} ({name.how} by {name.by}, {rfc3339(name.updated_at)})"
