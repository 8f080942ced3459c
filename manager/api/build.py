"""/build and what BuildKit's clients need: on one node, always the same, so that its cache is there."""

from __future__ import annotations

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.containers_list import warning_header
from manager.api.context import Context
from manager.api.images_find import builder
from manager.api.proxy import forward, pruned, pruned_items, raw_query, read_every
from manager.api.proxy_hijack import hijack
from manager.api.router import Route

PRUNE_SECONDS = 300.0


async def build(context: Context, call: Call) -> Reply:
    """Build an image from the archive in the body; the builder's output is the answer."""
    return forward(context, builder(context), call, "/build")


async def cancel(context: Context, call: Call) -> Reply:
    return forward(context, builder(context), call, "/build/cancel")


async def session(context: Context, call: Call) -> Reply:
    """Join a client's session (its files, its secrets) with the builder."""
    return hijack(context, builder(context), call, "/session")


async def grpc(context: Context, call: Call) -> Reply:
    """Join a client with BuildKit's own interface."""
    return hijack(context, builder(context), call, "/grpc")


async def prune(context: Context, call: Call) -> Reply:
    """Clear the build caches of all nodes: the builder may have been another."""
    query = raw_query(call)
    results, reasons = await read_every(
        context, "POST", "/build/prune", pruned_items, version=call.version, query=query, seconds=PRUNE_SECONDS
    )
    value = pruned("CachesDeleted", results.values())
    return Answer(value=value, headers=warning_header(context.store.view, reasons))


ROUTES = (
    Route("POST", "/build", build, needs=Role.OPERATOR, raw=True),
    Route("POST", "/build/cancel", cancel, needs=Role.OPERATOR, raw=True),
    Route("POST", "/build/prune", prune, needs=Role.OPERATOR),
    Route("POST", "/session", session, needs=Role.OPERATOR, raw=True),
    Route("POST", "/grpc", grpc, needs=Role.OPERATOR, raw=True),
)
