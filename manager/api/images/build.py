"""/build and what BuildKit's clients need: on one node, always the same, so that its cache is there."""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.containers.list import warning_header
from manager.api.containers.networks import is_cluster_network
from manager.api.context import Context
from manager.api.engine.forward import forward
from manager.api.engine.hijack import hijack
from manager.api.engine.proxy import merge_pruned, raw_query, read_every, read_pruned
from manager.api.errors import invalid
from manager.api.images.buildkit import Malformed, Solves
from manager.api.images.own import parse_own, refuse_own
from manager.api.images.progress import Progress, ProgressListener
from manager.api.images.record import NameChange, record
from manager.api.images.registry import builder, for_engine
from manager.api.lookup import find_network
from manager.api.router import Route
from manager.api.services.container_validation import is_image

_LOG = logging.getLogger(__name__)

PRUNE_SECONDS = 300.0


async def build(context: Context, call: Call) -> Reply:
    """Build an image from the archive in the body, with names of the cluster; the builder's output is the answer."""
    network = call.query.get("networkmode", "")
    if is_cluster_network(network) and find_network(context.store.view, network) is not None:
        raise invalid(
            f"network {network} is the cluster's, and a build runs in networks of its engine: leave --network out, "
            "or use host or none"
        )
    names = [value for key, value in parse_qsl(raw_query(call)) if key == "t" and is_image(value)]
    refuse_own(names)
    node_id = builder(context)

    async def built(progress: Progress) -> None:
        if progress.built:
            await record(context, NameChange("build", call.caller, node_id), names)

    return forward(context, node_id, for_engine(context, node_id, call), "/build", listener=ProgressListener(built))


async def cancel(context: Context, call: Call) -> Reply:
    return forward(context, builder(context), call, "/build/cancel")


async def session(context: Context, call: Call) -> Reply:
    """Join a client's session (its files, its secrets) with the builder."""
    return hijack(context, builder(context), call, "/session")


async def grpc(context: Context, call: Call) -> Reply:
    """Join a client with BuildKit's own interface."""
    node_id = builder(context)
    return hijack(context, node_id, call, "/grpc", listener=_Builds(context, NameChange("build", call.caller, node_id)))


class _Builds:
    """Hears a client's builds, and writes their names down before the client hears that they are done."""

    def __init__(self, context: Context, done: NameChange) -> None:
        self._context = context
        self._done = done
        self._solves: Solves | None = Solves()

    async def asked(self, data: bytes) -> None:
        if self._solves is not None:
            try:
                self._solves.asked(data)
            except Malformed as error:
                self._give_up(error)

    async def answered(self, data: bytes) -> None:
        if self._solves is None:
            return
        try:
            built = self._solves.answered(data)
        except Malformed as error:
            self._give_up(error)
            return
        for names in built:
            given = [name for name in names if is_image(name) and parse_own(name) is None]
            await record(self._context, self._done, given)

    def _give_up(self, error: Malformed) -> None:
        _LOG.warning("cannot follow a client's builds, so their names stay on the builder: %s", error)
        self._solves = None


async def prune(context: Context, call: Call) -> Reply:
    """Clear the build caches of all nodes: the builder may have been another."""
    query = raw_query(call)
    results, reasons = await read_every(
        context, "POST", "/build/prune", read_pruned, version=call.version, query=query, seconds=PRUNE_SECONDS
    )
    value = merge_pruned("CachesDeleted", results.values())
    return Answer(value=value, headers=warning_header(context.store.view, reasons))


ROUTES = (
    Route("POST", "/build", build, needs=Role.OPERATOR, raw=True),
    Route("POST", "/build/cancel", cancel, needs=Role.OPERATOR, raw=True),
    Route("POST", "/build/prune", prune, needs=Role.OPERATOR),
    Route("POST", "/session", session, needs=Role.OPERATOR, raw=True),
    Route("POST", "/grpc", grpc, needs=Role.OPERATOR, raw=True),
)
