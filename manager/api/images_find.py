"""Which image a reference means in the cluster, and which nodes have it.

All nodes' images are one set, and a name means one image, as on a single engine: where nodes know different images by
the same name, the one that was given it last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from common.imagenames import from_registry, is_id, pinned_id, with_tag
from common.model import Node
from common.wire.image_messages import ImageSeen
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.proxy_presence import ready_nodes
from manager.api.validate_container import is_image

_PREFERS_BUILDKIT = 23
_PREFIX = re.compile(r"(sha256:)?[0-9a-f]{2,64}")


@dataclass(frozen=True, slots=True)
class Located:
    """The image that is meant, what its engine says of it, and the nodes that have it by this reference."""

    image_id: str
    seen: ImageSeen
    nodes: tuple[str, ...]


async def find_image(context: Context, reference: str) -> Located:
    """Find the image that a name, an id or a prefix of an id means.

    Raises:
        EngineError: 400, it is no image reference, or a prefix of several ids; 404, no connected node has it.

    """
    if not is_image(reference) and not is_id(reference):
        raise EngineError(400, f"invalid reference format: {reference[:200]!r} is not an image name")
    located = choose(reference, await holders(context, reference))
    if located is None:
        raise EngineError(404, f"No such image: {reference if pinned_id(reference) else with_tag(reference)}")
    return located


async def holders(context: Context, reference: str) -> Mapping[str, ImageSeen]:
    """Return what the nodes say of an image, by node; a reference that is pinned to an id means that id."""
    found = await context.engines.locate_image(reference)
    pinned = pinned_id(reference)
    return found if found or not pinned or pinned == reference else await context.engines.locate_image(pinned)


def choose(reference: str, found: Mapping[str, ImageSeen]) -> Located | None:
    """Choose the image that is meant among those that nodes know by a reference. Pure.

    Raises:
        EngineError: 400, it is a prefix of several ids.

    """
    if not found:
        return None
    ids = {seen.image_id for seen in found.values()}
    if len(ids) > 1 and _is_prefix_of_all(reference, ids):
        raise EngineError(400, f"{reference} is the beginning of several images' ids: {', '.join(sorted(ids))}")
    newest = max(found.values(), key=lambda seen: (seen.tagged_at, seen.image_id))
    nodes = sorted(node for node, seen in found.items() if seen.image_id == newest.image_id)
    return Located(newest.image_id, newest, tuple(nodes))


def _is_prefix_of_all(reference: str, ids: set[str]) -> bool:
    if _PREFIX.fullmatch(reference) is None:
        return False
    return all(image_id.removeprefix("sha256:").startswith(reference.removeprefix("sha256:")) for image_id in ids)


async def find_local(context: Context, reference: str) -> Located | None:
    """Find an image that the cluster has and no registry: not by this name. None when it is not so."""
    located = choose(reference, await holders(context, reference))
    if located is None or from_registry(reference, located.seen.repo_digests):
        return None
    return located


def builder(context: Context) -> str:
    """Choose the node for what happens on one and is then the cluster's: builds, pulls, loads.

    It is the same every time, so that the last build's layers are there: the manager's own host, if it has an agent.

    Raises:
        EngineError: 503, no node is there.

    """
    nodes = by_suitability(context)
    if not nodes:
        raise EngineError(503, "no node's engine can be reached: see 'docker node ls'")
    return nodes[0].id


def builder_version(context: Context) -> str:
    """Return what clients are told to build with: "2", BuildKit, or "1" where the builder's engine prefers its own.

    Engines since 23 prefer BuildKit.
    """
    nodes = by_suitability(context)
    release = nodes[0].description.engine.engine_version.partition(".")[0] if nodes else ""
    return "1" if release.isdecimal() and int(release) < _PREFERS_BUILDKIT else "2"


def by_suitability(context: Context) -> list[Node]:
    """Return the nodes whose engines can be asked, in the order in which they are taken for what one alone does."""
    return sorted(ready_nodes(context.store.view), key=lambda node: _rank(context, node))


def _rank(context: Context, node: Node) -> tuple[bool, bool, str]:
    return node.id != context.identity.node_id, node.spec.availability != "active", node.id
