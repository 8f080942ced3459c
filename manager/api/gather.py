"""Asking the nodes' own engines, through their agents' connections."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import msgspec

from common.errors import Unavailable
from common.model import Node
from manager.api.call import Answer, Call
from manager.api.context import Context

_LOG = logging.getLogger(__name__)

# The host in the URLs is of no meaning: every connection of a session ends at its node's engine.
ENGINE = "http://engine"
_PATIENCE = 10.0
_RELAY_PATIENCE = 60.0
_MAX_ANSWER = 64 * 1024 * 1024
ENGINE_FAILURES = (Unavailable, aiohttp.ClientError, OSError, TimeoutError)


def ready_nodes(context: Context) -> list[Node]:
    """Return the nodes whose engines can be asked."""
    return [node for node in context.store.view.nodes if node.agent and node.status.state == "ready"]


async def every_engine(context: Context, path: str) -> list[Any]:
    """GET a path of every ready node's engine at once; return the decoded answers of those that gave one in time."""
    answers = await asyncio.gather(*(_json(context, node, path) for node in ready_nodes(context)))
    return [answer for answer in answers if answer is not None]


async def _json(context: Context, node: Node, path: str) -> Any:
    try:
        async with (
            asyncio.timeout(_PATIENCE),
            context.engines.session(node.id) as session,
            session.get(ENGINE + path) as response,
        ):
            if response.status == 200:
                return msgspec.json.decode(await read_bounded(response, _MAX_ANSWER))
            reason = f"status {response.status}"
    except (*ENGINE_FAILURES, msgspec.DecodeError) as error:
        reason = str(error) or type(error).__name__
    _LOG.warning("engine of node %s did not answer GET %s: %s", node.name, path, reason)
    return None


async def relay(context: Context, call: Call, path: str, *, seconds: float = _RELAY_PATIENCE) -> Answer:
    """Let the first engine that can be reached ask a registry: a request that is the same on every node.

    An engine that does not answer within `seconds` is taken to wait for a registry that would keep the others waiting
    as long: none is asked after it.

    Raises:
        Unavailable: no node's engine could be reached, or the one that was does not answer in time.

    """
    headers = {k: v for k, v in call.headers.items() if k in {"x-registry-auth", "content-type"}}
    for node in ready_nodes(context):
        try:
            async with asyncio.timeout(seconds) as limit, context.engines.session(node.id) as session:
                request = session.request(call.method, ENGINE + path, headers=headers, data=call.body or None)
                async with request as response:
                    return Answer(response.status, await read_bounded(response, _MAX_ANSWER))
        except ENGINE_FAILURES as error:
            _LOG.warning("engine of node %s did not answer %s %s: %r", node.name, call.method, path, error)
            if limit.expired():
                raise Unavailable(f"no registry answered node {node.name} within {seconds:g} s") from error
    raise Unavailable("no node's engine can be reached to ask a registry: see 'docker node ls'")


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read an engine's whole answer.

    Raises:
        Unavailable: it is longer than `limit` bytes.

    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise Unavailable(f"the engine's answer is longer than {limit} bytes")
    return bytes(body)
