"""/distribution and /auth: what only a registry knows, asked through an engine."""

from __future__ import annotations

from urllib.parse import quote

from common.errors import Unavailable
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.gather import relay
from manager.api.images_find import Located, find_local
from manager.api.images_untold import DIGEST_SECONDS, untold
from manager.api.router import Route
from manager.api.validate_container import is_image

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
            answer = await relay(context, call, f"/distribution/{quote(name, safe='/:@')}/json", seconds=DIGEST_SECONDS)
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


async def auth(context: Context, call: Call) -> Reply:
    """Check credentials with a registry."""
    call.require_json()
    return await relay(context, call, "/auth")


ROUTES = (
    Route("GET", "/distribution/{name+}/json", distribution, needs=Role.OPERATOR),
    Route("POST", "/auth", auth, needs=Role.OPERATOR),
)
