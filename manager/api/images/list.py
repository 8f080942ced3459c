"""GET /images/json and POST /images/prune: the images of every node, merged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from common.model import ImageName
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.containers.list import warning_header
from manager.api.context import Context
from manager.api.engine.proxy import EngineReply, ask, ask_all, raw_query, read_every
from manager.api.engine.types import Image, Removed
from manager.api.images.names import Naming, filter_by_name, merge, unheld
from manager.api.images.on_node import image_path
from manager.api.images.own import NO_NAMES
from manager.api.images.record import unname
from manager.api.lookup import labels_match
from manager.api.router import Route
from manager.domain.image_use import Needed, needed_images
from manager.store.view import View

LIST_SECONDS = 10.0
PRUNE_SECONDS = 120.0
_LIST_FILTERS = frozenset({"before", "dangling", "label", "reference", "since", "until"})
_PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})
# Applied here: the engines do not know the names.
_BY_NAME = frozenset({"dangling", "reference"})
# At once on one engine.
_REMOVED_AT_ONCE = 4


async def list_images(context: Context, call: Call) -> Reply:
    """List every node's images, one entry an id, the newest first; those that have a name and no node holds come last.

    A `Warning` header names the nodes that did not answer.
    """
    filters = call.filters(_LIST_FILTERS)
    passed = {name: sorted(values) for name, values in filters.items() if name not in _BY_NAME}
    by_node, warning = await _every_list(context, _query(call, passed), call.version)
    naming = Naming.of(context.store.view)
    images = merge(by_node, naming)
    if not passed:
        images += unheld((image["Id"] for image in images), naming)
    return Answer(value=filter_by_name(images, filters), headers=warning)


def _query(call: Call, filters: Mapping[str, list[str]]) -> str:
    """Return the client's query with other filters."""
    others = [part for part in raw_query(call).split("&") if part and part.partition("=")[0] != "filters"]
    return "&".join([*others, *([f"filters={_quote_filters(filters)}"] if filters else [])])


async def _every_list(context: Context, query: str, version: str) -> tuple[dict[str, list[Image]], dict[str, str]]:
    """Ask all nodes for their images; the second is a `Warning` header that names those that did not answer."""
    found, reasons = await read_every(
        context, "GET", "/images/json", _read_images, version=version, query=query, seconds=LIST_SECONDS
    )
    return found, warning_header(context.store.view, reasons)


async def _read_images(reply: EngineReply) -> list[Image]:
    return await reply.listed(Image)


async def prune(context: Context, call: Call) -> Reply:
    """Remove images that no container uses, on every node; never one that a service names.

    Without the filter `dangling=false`, those without a name alone: neither in the cluster, nor on their node. Engines'
    own pruning knows of neither, so each image is removed by itself; an engine refuses one that a container uses.
    """
    filters = dict(call.filters(_PRUNE_FILTERS))
    every = bool(filters.pop("dangling", frozenset({"true"})) & {"false", "0", "False"})
    excluded = filters.pop("label!", frozenset())
    asked = {name: sorted(values) for name, values in filters.items()} | ({} if every else {"dangling": ["true"]})
    by_node, warning = await _every_list(context, f"shared-size=1&filters={_quote_filters(asked)}", call.version)
    spared = _needed_images(context.store.view, every=every)
    doomed = {
        node_id: [image for image in images if not spared.has(image) and not _has_label(image, excluded)]
        for node_id, images in by_node.items()
    }

    async def one(node_id: str) -> list[tuple[Image, list[Removed]]]:
        return await _remove_all(context, node_id, doomed[node_id])

    results, _ = await ask_all(one, list(doomed), seconds=PRUNE_SECONDS)
    removed = [item for done in results.values() for _, items in done for item in items]
    if every:
        gone = {(node_id, image["Id"]) for node_id, done in results.items() for image, _ in done}
        await _unname(context, gone, by_node, all_told=not (filters or excluded or warning))
    space = sum(_own_size(image) for done in results.values() for image, _ in done)
    unique = list({tuple(sorted(item.items())): item for item in removed}.values())
    return Answer(value={"ImagesDeleted": unique or None, "SpaceReclaimed": space}, headers=warning)


def _needed_images(view: View, *, every: bool) -> Needed:
    """Return the images to keep: those that services need and, unless `every`, those with a name in the cluster."""
    kept = needed_images(view)
    named = frozenset() if every else frozenset(name.image_id for name in view.image_names)
    return Needed(kept.digests | named, kept.names)


async def _unname(
    context: Context, gone: set[tuple[str, str]], by_node: Mapping[str, list[Image]], *, all_told: bool
) -> None:
    """Remove the names of images that were pruned and that no node holds any longer.

    With `all_told` every node has listed all its images: then also the names of images that no node holds.
    """
    listed = {(node_id, image["Id"]) for node_id, images in by_node.items() for image in images}
    held = {image_id for _, image_id in listed - gone}
    pruned = {image_id for _, image_id in gone}
    kept = needed_images(context.store.view).digests

    def lost(name: ImageName) -> bool:
        return name.image_id not in held | kept and (all_told or name.image_id in pruned)

    await unname(context, lost, [name.id for name in context.store.view.image_names])


async def _remove_all(context: Context, node_id: str, images: list[Image]) -> list[tuple[Image, list[Removed]]]:
    """Remove images from a node, except those in use. Return the removed ones, each with the engine's answer."""
    slots = asyncio.Semaphore(_REMOVED_AT_ONCE)

    async def remove(image: Image) -> tuple[Image, list[Removed]] | None:
        items: list[Removed] = []
        async with slots:
            for name in [*(image.get("RepoTags") or ()), image["Id"]]:
                if name in NO_NAMES:
                    continue
                reply = await ask(context, node_id, "DELETE", image_path(name), seconds=PRUNE_SECONDS)
                items += await reply.listed(Removed) if reply.ok else []
        return (image, items) if {"Deleted": image["Id"]} in items else None

    done = await asyncio.gather(*map(remove, images))
    return [each for each in done if each is not None]


def _own_size(image: Image) -> int:
    """Return the bytes that only this image takes; an engine that does not know the shared size says -1."""
    return max(0, int(image.get("Size", 0)) - max(0, int(image.get("SharedSize", -1))))


def _has_label(image: Image, excluded: frozenset[str]) -> bool:
    return any(labels_match(image.get("Labels") or {}, {label}) for label in excluded)


def _quote_filters(filters: Mapping[str, list[str]]) -> str:
    return quote(msgspec.json.encode(filters).decode())


ROUTES = (
    Route("GET", "/images/json", list_images, needs=Role.VIEWER),
    Route("POST", "/images/prune", prune, needs=Role.OPERATOR),
)
