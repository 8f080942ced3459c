"""/distribution and /auth: what only a registry knows, asked through an engine."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

from common.errors import Unavailable
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.images_find import Located, find_local
from manager.api.images_pin import DIGEST_SECONDS, untold
from manager.api.proxy import ask
from manager.api.proxy_presence import ready_nodes
from manager.api.router import Route
from manager.api.validate_container import is_image

_LOG = logging.getLogger(__name__)

AUTH_SECONDS = 60.0
# What an image's id is the digest of.
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"


async def distribution(context: Context, call: Call) -> Reply:
    """Tell the digest and platforms of an image, as the registry has it.

    For an image that only the cluster has, the cluster is the registry, and the image's id the digest: clients make of
    it the pinned reference of a service. No registry is asked, which would take seconds where there is none. Where
    the engine does not tell whether only the cluster has it, the registry is asked first.
    """
    name = call.params["name"]
    if not is_image(name):
        raise invalid(f"invalid reference format: {name[:200]!r} is not an image name")
    located = await find_local(context, name)
    if located is None:
        try:
            path = f"/distribution/{quote(name, safe='/:@')}/json"
            answer = await _relay(context, call, path, seconds=DIGEST_SECONDS)
        except Unavailable:
            located = await untold(context, name)
            if located is None:
                raise
        else:
            located = await untold(context, name) if answer.status >= 400 else None
            if located is None:
                return answer
    return Answer(value=_as_of_a_registry(located))


def _as_of_a_registry(located: Located) -> dict[str, object]:
    seen = located.seen
    descriptor = {"mediaType": CONFIG_TYPE, "digest": located.image_id, "size": seen.size}
    return {"Descriptor": descriptor, "Platforms": [{"architecture": seen.architecture, "os": seen.os}]}


async def _relay(context: Context, call: Call, path: str, *, seconds: float) -> Answer:
    """Let the first engine that can be reached ask a registry: a request that is the same on every node.

    An engine that does not answer within `seconds` is taken to wait for a registry that would keep the others waiting
    as long: none is asked after it.

    Raises:
        Unavailable: no node's engine could be reached, or the one that was does not answer in time.

    """
    headers = {name: value for name, value in call.headers.items() if name in {"x-registry-auth", "content-type"}}
    for node in ready_nodes(context.store.view):
        try:
            async with asyncio.timeout(seconds) as limit:
                reply = await ask(
                    *(context, node.id, call.method, path),
                    version=call.version,
                    body=call.body or None,
                    headers=headers,
                    seconds=None,
                )
                return reply.answer()
        except (Unavailable, TimeoutError) as error:
            _LOG.warning("engine of node %s did not answer %s %s: %r", node.name, call.method, path, error)
            if limit.expired():
                raise Unavailable(f"no registry answered node {node.name} within {seconds:g} s") from error
    raise Unavailable("no node's engine can be reached to ask a registry: see 'docker node ls'")


async def auth(context: Context, call: Call) -> Reply:
    """Check credentials with a registry."""
    call.require_json()
    return await _relay(context, call, "/auth", seconds=AUTH_SECONDS)


ROUTES = (
    Route("GET", "/distribution/{name+}/json", distribution, needs=Role.OPERATOR),
    Route("POST", "/auth", auth, needs=Role.OPERATOR),
)
