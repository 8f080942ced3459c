"""Whose engine does what only one node can do, and what only a registry knows: /distribution and /auth.

The engine of this manager's own host is as trustworthy as the manager, so it is asked of registries. Any other is one
worker's, which may lie about its own work, and must not learn what opens a registry.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from urllib.parse import quote

import msgspec

from common.errors import Unavailable
from common.model import ImageName, Node
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.engine.presence import is_ready, ready_nodes
from manager.api.engine.proxy import ask
from manager.api.errors import EngineError, invalid
from manager.api.images.own import parse_own
from manager.api.router import Route
from manager.api.services.container_validation import is_image
from manager.domain.image_use import of_the_cluster

_LOG = logging.getLogger(__name__)

AUTH_SECONDS = 60.0
# Whoever creates a service waits for this. A registry that works answers in one or two; one that does not is silent for
# longer than anybody wants to wait for a digest, without which the service is made, too.
DIGEST_SECONDS = 4.0
# What an image's id is the digest of.
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"


async def distribution(context: Context, call: Call) -> Reply:
    """Tell the digest and platforms of an image, as the registry has it.

    For an image of the cluster's own, the cluster is the registry, and the image's id the digest: clients make of it
    the pinned reference of a service. No registry is asked, which would take seconds where there is none.
    """
    name = call.params["name"]
    if not is_image(name):
        raise invalid(f"invalid reference format: {name[:200]!r} is not an image name")
    if parse_own(name) is not None:
        raise EngineError(404, f"{name[:200]} is an image of that node alone: no registry has it")
    own = of_the_cluster(context.store.view, name)
    if own is not None:
        return Answer(value=_as_of_a_registry(own))
    return await _relay(context, call, f"/distribution/{quote(name, safe='/:@')}/json", seconds=DIGEST_SECONDS)


def _as_of_a_registry(name: ImageName) -> dict[str, object]:
    descriptor = {"mediaType": CONFIG_TYPE, "digest": name.image_id, "size": name.size}
    return {"Descriptor": descriptor, "Platforms": [{"architecture": name.architecture, "os": name.os}]}


async def _relay(context: Context, call: Call, path: str, *, seconds: float) -> Answer:
    """Let the engine of this manager's own host ask a registry.

    Raises:
        Unavailable: this host has no worker that is ready, or no answer came in time.

    """
    node_id = own_engine(context)
    if node_id is None:
        raise Unavailable(
            "no registry can be asked: only the engine of the manager's own host may do that, and that "
            "host has no worker that is ready: run 'swarm-worker join' there"
        )
    headers = {name: value for name, value in call.headers.items() if name in {"x-registry-auth", "content-type"}}
    try:
        async with asyncio.timeout(seconds) as limit:
            reply = await ask(
                context,
                node_id,
                call.method,
                path,
                version=call.version,
                body=call.body or None,
                headers=headers,
                seconds=None,
            )
            return reply.answer()
    except TimeoutError as error:
        if not limit.expired():
            raise
        _LOG.warning("the engine of this host did not answer %s %s within %g s", call.method, path, seconds)
        raise Unavailable(f"no registry answered within {seconds:g} s") from error


async def auth(context: Context, call: Call) -> Reply:
    """Check credentials with a registry."""
    call.require_json()
    return await _relay(context, call, "/auth", seconds=AUTH_SECONDS)


ROUTES = (
    Route("GET", "/distribution/{name+}/json", distribution, needs=Role.OPERATOR),
    Route("POST", "/auth", auth, needs=Role.OPERATOR),
)


_PREFERS_BUILDKIT = 23
# For one registry, and, of builds, for many.
_AUTH, _CONFIG = "x-registry-auth", "x-registry-config"


def own_engine(context: Context) -> str | None:
    """Return the node of this manager's own host; None where that has no worker, or it is away."""
    node_id = context.identity.node_id
    return node_id if is_ready(context.store.view.nodes.get(node_id)) else None


def builder(context: Context) -> str:
    """Choose the node for what happens on one and is then the cluster's: builds, pulls, loads.

    It is the same every time, so that the last build's layers are there: the manager's own host, if it has an agent,
    else an active node.

    Raises:
        EngineError: 503, no node can ask.

    """
    node = _builder(context)
    if node is None:
        raise EngineError(503, "no engine can be reached, on this manager's host or on an active node")
    return node.id


def builder_version(context: Context) -> str:
    """Return what clients are told to build with: "2", BuildKit, or "1" where the builder's engine prefers its own.

    Engines since 23 prefer BuildKit.
    """
    node = _builder(context)
    release = node.description.engine.engine_version.partition(".")[0] if node is not None else ""
    return "1" if release.isdecimal() and int(release) < _PREFERS_BUILDKIT else "2"


def by_suitability(context: Context) -> list[Node]:
    """Return the nodes whose engines can be asked, in the order in which they are taken for what one alone does."""
    return sorted(ready_nodes(context.store.view), key=lambda node: _rank(context, node))


def _builder(context: Context) -> Node | None:
    view = context.store.view
    own = own_engine(context)
    if own is not None:
        return view.nodes.get(own)
    active = (node for node in ready_nodes(view) if node.spec.availability == "active")
    return min(active, key=lambda node: node.id, default=None)


def _rank(context: Context, node: Node) -> tuple[bool, bool, str]:
    own = node.id == context.identity.node_id
    return not own, not own and node.spec.availability != "active", node.id


def for_engine(context: Context, node_id: str, call: Call) -> Call:
    """Return a call as a node's engine may see it: without credentials, unless it is that of this manager's host."""
    if node_id == context.identity.node_id:
        return call
    kept = {name: value for name, value in call.headers.items() if name not in {_AUTH, _CONFIG}}
    return msgspec.structs.replace(call, headers=kept)


def has_credentials(call: Call) -> bool:
    """Whether a call carries credentials for a registry; clients send the header without any, too."""
    text = call.headers.get(_AUTH, "")
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return bool(text)
    return bool(found) and (not isinstance(found, dict) or any(found.values()))
