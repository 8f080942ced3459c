"""/distribution and /auth: what only a registry knows, asked through an engine."""

from __future__ import annotations

from urllib.parse import quote

from common.model.client import Role
from manager.api.call import Call, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.gather import relay
from manager.api.router import Route
from manager.api.validate_container import is_image


async def distribution(context: Context, call: Call) -> Reply:
    """Tell the digest and platforms of an image, as the registry has it."""
    name = call.params["name"]
    if not is_image(name):
        raise invalid(f"invalid reference format: {name[:200]!r} is not an image name")
    return await relay(context, call, f"/distribution/{quote(name, safe='/:@')}/json")


async def auth(context: Context, call: Call) -> Reply:
    """Check credentials with a registry."""
    call.require_json()
    return await relay(context, call, "/auth")


ROUTES = (
    Route("GET", "/distribution/{name+}/json", distribution, needs=Role.OPERATOR),
    Route("POST", "/auth", auth, needs=Role.OPERATOR),
)
