"""What one node's engine says of an image."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from common.errors import Unavailable
from common.text.image_names import is_id
from manager.api.context import Context
from manager.api.engine.proxy import ASK_SECONDS, EngineReply, ask
from manager.api.engine.types import Image, ImageInspect


def image_path(name: str, what: str = "") -> str:
    path = f"/images/{quote(name, safe='/:@')}"
    return f"{path}/{what}" if what else path


async def image_on(
    context: Context, node_id: str, reference: str, *, seconds: float = ASK_SECONDS
) -> ImageInspect | None:
    """Return what a node's engine has by a reference of any kind; None if nothing.

    Raises:
        Unavailable: the node cannot be reached, its answer is not one of an engine, or does not come in time.

    """
    reply = await ask(context, node_id, "GET", image_path(reference, "json"), seconds=seconds)
    if reply.status == HTTPStatus.NOT_FOUND:
        return None
    image = _add_owner(reply).read(ImageInspect)
    if not is_id(image["Id"]):
        raise reply.wrong(f"image {reference} has the id {image['Id']}")
    return None if is_id(reference) and image["Id"] != reference else image


async def images_on(context: Context, node_id: str, *, seconds: float) -> list[Image]:
    """Return all images of a node's engine.

    Raises:
        Unavailable: as `image_on`, or it does not answer in time.

    """
    return await _add_owner(await ask(context, node_id, "GET", "/images/json", seconds=seconds)).listed(Image)


def _add_owner(reply: EngineReply) -> EngineReply:
    if not reply.ok:
        raise Unavailable(f"the engine of node {reply.node} does not tell what images it has: {reply.message}")
    return reply
