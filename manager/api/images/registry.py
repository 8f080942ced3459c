"""/distribution and /auth: what only a registry knows, asked through the engine of this manager's own host.

No other is asked: it could answer what it likes, and it would hear clients' credentials.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

from common.errors import Unavailable
from common.model import ImageName
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.engine.proxy import ask
from manager.api.errors import EngineError, invalid
from manager.api.images.builder import own_engine
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
                *(context, node_id, call.method, path),
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
