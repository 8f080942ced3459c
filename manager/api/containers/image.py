"""Which image a container is created from, and by which name it is shown: the one that the client asked for.

A name means what it means in the cluster, else what the chosen node resolves it to. A node that has fetched an image
knows only its id, so its engine cannot show the name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import SwarmError
from common.model.service import EXTENSION_PREFIX
from common.text import build_progress
from common.text.image_names import is_id, is_id_prefix, pinned_digest, with_tag
from manager.api.context import Context
from manager.api.engine.answers import read
from manager.api.engine.proxy import ask
from manager.api.engine.types import ImageInspect, Progress
from manager.api.errors import EngineError
from manager.api.http.bounded_json import WrongJson
from manager.api.images.find import complete_id, describe, find_held, holders
from manager.api.images.on_node import image_on
from manager.api.images.own import parse_own
from manager.api.logs.stream import TASK_LABEL
from manager.domain.hostnames import node_name
from manager.domain.image_use import image_record, of_the_cluster
from manager.store.view import View

# The name that the client asked for, of a container that was created from an image's id.
IMAGE_LABEL = EXTENSION_PREFIX + "image"


def with_image(view: View, shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """Replace the image's id by its name in an engine's list entry, or in the `Config` of an inspected container."""
    image = shown.get("Image")
    if not isinstance(image, str) or not is_id(image):
        return shown
    name = _requested_image(view, shown.get("Labels") or {})
    return {**shown, "Image": name} if name else shown


def _requested_image(view: View, labels: Mapping[str, str]) -> str:
    task = view.tasks.get(labels.get(TASK_LABEL, ""))
    if task is None:
        return labels.get(IMAGE_LABEL, "")
    container = task.spec.container_spec
    return container.image if container is not None else ""


def with_image_id(body: Mapping[str, Any], image_id: str, name: str) -> dict[str, Any]:
    """Return the create body with the image's id, for an engine that does not know the name; a label keeps the name."""
    others = {key: value for key, value in body.items() if key.lower() != "image"}
    return {**others, "Image": image_id, "Labels": {**others["Labels"], IMAGE_LABEL: name}}


def as_image_ids(view: View, names: Collection[str]) -> list[str]:
    """Return names for an engine's filter: replaced by the image's id where only the cluster knows the name."""
    found = [(name, of_the_cluster(view, name)) for name in sorted(names)]
    return [name if own is None else own.image_id for name, own in found]


# Of a pull's messages: the last one says how it ended.
_TAIL = 64 * 1024


@dataclass(frozen=True, slots=True)
class RequestedImage:
    """An image that was asked for as `name`.

    `image_id` is what the name means in the cluster, empty where each node resolves it; `nodes` hold it, and `there` is
    the node whose own name it is, if any. `registry`: a registry has it by this name.
    """

    name: str
    image_id: str = ""
    nodes: tuple[str, ...] = ()
    registry: bool = False
    there: str = ""


@dataclass(frozen=True, slots=True)
class NodeImage:
    """An image that a node has: the reference to create the container from, and the image's labels."""

    reference: str
    labels: Mapping[str, str] = field(default_factory=dict)


async def resolve_image(context: Context, name: str) -> RequestedImage:
    """Find out which image a name means.

    Raises:
        EngineError: 404, it is an id or a node's own name, and there is no such image; 503, it is a name of the
            cluster's own whose image no connected node holds: after a 404, clients would pull another one.

    """
    record = image_record(context.store.view, name)
    if record is not None:
        nodes = await holders(context, record.image_id)
        if not nodes and not record.registry:
            raise EngineError(503, f"image {with_tag(name)} is {describe(record)}, which no connected node has")
        return RequestedImage(name, record.image_id, nodes, registry=record.registry)
    if is_id(name) or parse_own(name) is not None:
        located = await find_held(context, name)
        return RequestedImage(name, located.image_id, located.nodes, there=located.nodes[0] if located.there else "")
    image_id = pinned_digest(name) or (await complete_id(context, name) if is_id_prefix(name) else "")
    nodes = await holders(context, image_id) if image_id else ()
    return RequestedImage(name, image_id, nodes) if nodes else RequestedImage(name)


async def ensure_image(context: Context, node_id: str, meant: RequestedImage) -> NodeImage:
    """Make sure that the chosen node has the image; it fetches or pulls what is missing.

    Raises:
        EngineError: 404, the name means nothing in the cluster and on the node, or the pull failed.
        SwarmError: the node could not fetch it.

    """
    here = await _here(context, node_id, meant)
    if here is not None:
        return here
    if not meant.image_id:
        raise EngineError(
            404, f"No such image: {with_tag(meant.name)} on node {node_name(context.store.view, node_id)}"
        )
    brought = await (_pull if meant.registry else _bring)(context, node_id, meant)
    found = await image_on(context, node_id, brought)
    return NodeImage(brought, _labels(found) if found is not None else {})


async def _here(context: Context, node_id: str, meant: RequestedImage) -> NodeImage | None:
    """Look for the image on the node: by its name, where that means the same there, else by its id."""
    found = await image_on(context, node_id, meant.name) if not meant.there else None
    if found is not None and meant.image_id in ("", found["Id"]):
        return NodeImage(meant.name, _labels(found))
    found = await image_on(context, node_id, meant.image_id) if meant.image_id else None
    return NodeImage(meant.image_id, _labels(found)) if found is not None else None


def _labels(image: ImageInspect) -> Mapping[str, str]:
    return (image.get("Config") or {}).get("Labels") or {}


async def _bring(context: Context, node_id: str, meant: RequestedImage) -> str:
    """Have the node fetch the image from one that holds it; return its id there."""
    try:
        return await context.engines.bring_image(node_id, meant.image_id)
    except SwarmError:
        if meant.name == meant.image_id or image_record(context.store.view, meant.name) is not None:
            raise
    # Nodes claim to hold it, and a registry may have it: after a 404 clients pull it.
    raise EngineError(404, f"No such image: {meant.name}: no node that claims to have it could provide it")


async def _pull(context: Context, node_id: str, meant: RequestedImage) -> str:
    """Have the node pull what a registry has, or fetch what a client has pulled.

    Raises:
        EngineError: 404, it could not.

    """
    query = {"fromImage": meant.name if pinned_digest(meant.name) else with_tag(meant.name)}
    reply = await ask(context, node_id, "POST", "/images/create", query=query, seconds=None, tail=_TAIL)
    failure = reply.message if not reply.ok else _pull_failure(reply.body)
    if not failure:
        return meant.name
    try:
        return await context.engines.bring_image(node_id, meant.image_id)
    except SwarmError as error:
        name = node_name(context.store.view, node_id)
        text = f"No such image: {meant.name} on node {name}, which can neither pull it ({failure}) nor fetch it"
        raise EngineError(404, f"{text}: {error.message}") from error


def _pull_failure(messages: bytes) -> str:
    """Return the error that the last of a pull's messages tells of, empty if it went well."""
    last = next((line for line in reversed(messages.splitlines()) if line.strip()), b"{}")
    try:
        return build_progress.failure(read(last, Progress))
    except WrongJson:
        return "it said no more than " + last[-200:].decode(errors="replace")
