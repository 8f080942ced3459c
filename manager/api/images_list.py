"""GET /images/json and POST /images/prune: the images of every node, merged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.containers_list import warning_header
from manager.api.context import Context
from manager.api.engine_types import Image, Removed
from manager.api.images import image_path
from manager.api.lookup import labels_match
from manager.api.proxy import EngineReply, ask, ask_all, raw_query, read_every
from manager.api.router import Route
from manager.state.imageuse import needed

LIST_SECONDS = 10.0
PRUNE_SECONDS = 120.0
_LIST_FILTERS = frozenset({"before", "dangling", "label", "reference", "since", "until"})
_PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})
# At once on one engine.
_REMOVED_AT_ONCE = 4
# What engines up to API 1.42 say in place of no name and no digest.
_NO_NAMES = frozenset({"<none>:<none>", "<none>@<none>"})


async def list_images(context: Context, call: Call) -> Reply:
    """List every node's images, one entry an id, the newest first."""
    call.filters(_LIST_FILTERS)
    by_node, warning = await _every_list(context, raw_query(call), call.version)
    merged = merge(by_node, await _present_names(context, by_node))
    return Answer(value=merged, headers=warning)


async def _every_list(context: Context, query: str, version: str) -> tuple[dict[str, list[Image]], dict[str, str]]:
    """Ask all nodes for their images; the second is a `Warning` header that names those that did not answer."""
    found, reasons = await read_every(
        context, "GET", "/images/json", _listed, version=version, query=query, seconds=LIST_SECONDS
    )
    return found, warning_header(context.store.view, reasons)


async def _listed(reply: EngineReply) -> list[Image]:
    return await reply.listed(Image)


async def _present_names(context: Context, by_node: Mapping[str, list[Image]]) -> dict[str, str]:
    """Find out what each name means that nodes know different images by: what the name was given to last."""
    meanings: dict[str, set[str]] = {}
    for images in by_node.values():
        for image in images:
            for name in {*(image.get("RepoTags") or ())} - _NO_NAMES:
                meanings.setdefault(name, set()).add(image["Id"])
    disputed = [name for name, ids in meanings.items() if len(ids) > 1]
    answers = await asyncio.gather(*(context.engines.locate_image(name) for name in disputed))
    return {
        name: max(found.values(), key=lambda seen: (seen.tagged_at, seen.image_id)).image_id
        for name, found in zip(disputed, answers, strict=True)
        if found
    }


def merge(by_node: Mapping[str, list[Image]], meanings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Join lists of images into one: names and digests of an id are all that nodes know. Pure.

    `meanings` has, for names that mean different images on different nodes, the id that is meant.
    """
    merged: dict[str, dict[str, Any]] = {}
    for images in by_node.values():
        for image in images:
            into = merged.setdefault(image["Id"], {**image, "RepoTags": [], "RepoDigests": [], "Containers": -1})
            tags = [tag for tag in image.get("RepoTags") or () if meanings.get(tag, image["Id"]) == image["Id"]]
            into["RepoTags"] = sorted({*into["RepoTags"], *tags})
            into["RepoDigests"] = sorted({*into["RepoDigests"], *(image.get("RepoDigests") or ())})
            if image.get("Containers", -1) >= 0:
                into["Containers"] = max(into["Containers"], 0) + image["Containers"]
    for into in merged.values():
        if not _NO_NAMES.issuperset([*into["RepoTags"], *into["RepoDigests"]]):  # where it was fetched it has none
            for key in ("RepoTags", "RepoDigests"):
                into[key] = [name for name in into[key] if name not in _NO_NAMES]
    return sorted(merged.values(), key=lambda image: (-image.get("Created", 0), image["Id"]))


async def prune(context: Context, call: Call) -> Reply:
    """Remove images that no container uses, on every node; never one that a service names.

    Without the filter `dangling=false`, those without a name alone. Engines' own pruning knows of no services, so each
    image is removed by itself; an engine refuses one that a container uses.
    """
    filters = dict(call.filters(_PRUNE_FILTERS))
    every = filters.pop("dangling", frozenset({"true"})) & {"false", "0", "False"}
    excluded = filters.pop("label!", frozenset())
    asked = {name: sorted(values) for name, values in filters.items()} | ({} if every else {"dangling": ["true"]})
    query = f"shared-size=1&filters={_quoted(asked)}"
    by_node, warning = await _every_list(context, query, call.version)
    kept = needed(context.store.view)
    doomed = {
        node_id: [image for image in images if not kept.has(image) and not _labelled(image, excluded)]
        for node_id, images in by_node.items()
    }

    async def one(node_id: str) -> list[tuple[Image, list[Removed]]]:
        return await _remove_all(context, node_id, doomed[node_id])

    results, _ = await ask_all(one, list(doomed), seconds=PRUNE_SECONDS)
    removed = [item for done in results.values() for _, items in done for item in items]
    space = sum(_own_size(image) for done in results.values() for image, _ in done)
    unique = list({tuple(sorted(item.items())): item for item in removed}.values())
    return Answer(value={"ImagesDeleted": unique or None, "SpaceReclaimed": space}, headers=warning)


async def _remove_all(context: Context, node_id: str, images: list[Image]) -> list[tuple[Image, list[Removed]]]:
    """Remove images from a node; those that are in use are left. Returns what went, each with what the engine says."""
    slots = asyncio.Semaphore(_REMOVED_AT_ONCE)

    async def remove(image: Image) -> tuple[Image, list[Removed]] | None:
        items: list[Removed] = []
        async with slots:
            for name in [*(image.get("RepoTags") or ()), image["Id"]]:
                if name in _NO_NAMES:
                    continue
                reply = await ask(context, node_id, "DELETE", image_path(name), seconds=PRUNE_SECONDS)
                items += await reply.listed(Removed) if reply.ok else []
        return (image, items) if {"Deleted": image["Id"]} in items else None

    done = await asyncio.gather(*map(remove, images))
    return [each for each in done if each is not None]


def _own_size(image: Image) -> int:
    """Return what an image alone takes; an engine that does not know what it shares says -1."""
    return max(0, int(image.get("Size", 0)) - max(0, int(image.get("SharedSize", -1))))


def _labelled(image: Image, excluded: frozenset[str]) -> bool:
    return any(labels_match(image.get("Labels") or {}, {label}) for label in excluded)


def _quoted(filters: Mapping[str, list[str]]) -> str:
    return quote(msgspec.json.encode(filters).decode())


ROUTES = (
    Route("GET", "/images/json", list_images, needs=Role.VIEWER),
    Route("POST", "/images/prune", prune, needs=Role.OPERATOR),
)
