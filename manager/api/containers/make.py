"""Having the chosen node's engine make a container, with its networks of the cluster where it has any."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from common.errors import SwarmError, Unavailable
from manager.api.call import JSON, Call
from manager.api.containers.attachments import attach_container, bind
from manager.api.containers.networks import engine_ends, with_networks
from manager.api.containers.request import RequestedContainer
from manager.api.context import Context
from manager.api.engine.proxy import EngineReply, ask
from manager.api.engine.types import Created

CREATE_SECONDS = 180.0


async def make(
    context: Context, call: Call, node_id: str, _wanted: RequestedContainer, body: Mapping[str, Any]
) -> EngineReply:
    """Have the engine make a container; `body` is meant for it as it is.

    Raises:
        EngineError: the engine's own.
        Unavailable: the node cannot be reached.

    """
    reply = await ask(
        *(context, node_id, "POST", "/containers/create"),
        version=call.version,
        query=call.query,
        body=msgspec.json.encode(body),
        headers={"content-type": JSON},
        seconds=CREATE_SECONDS,
    )
    if not reply.ok:
        raise reply.error()
    return reply


async def make_attached(
    context: Context, call: Call, node_id: str, wanted: RequestedContainer, body: Mapping[str, Any]
) -> EngineReply:
    """Have the engine make a container in networks of the cluster; errors as `make`, and as `attachments.attached`."""
    async with attach_container(context, wanted.attachment(node_id)) as attachment:
        first, *others = engine_ends(attachment, wanted.endpoints)
        reply = await make(context, call, node_id, wanted, with_networks(body, attachment, first))
        container_id = reply.read(Created)["Id"]
        try:
            for network, endpoint in others:
                await connect(context, node_id, container_id, network, endpoint)
            await bind(context, attachment.id, container_id)
        except BaseException:
            await discard(context, node_id, container_id)
            raise
    return reply


async def connect(context: Context, node_id: str, container_id: str, network: str, endpoint: Mapping[str, Any]) -> None:
    """Connect a container to one of its engine's networks.

    Raises:
        EngineError: the engine's own.
        Unavailable: the node cannot be reached, or its network is not there.

    """
    body = msgspec.json.encode({"Container": container_id, "EndpointConfig": endpoint})
    path = f"/networks/{network}/connect"
    reply = await ask(context, node_id, "POST", path, body=body, headers={"content-type": JSON}, seconds=CREATE_SECONDS)
    if reply.status == HTTPStatus.NOT_FOUND:  # clients would take a 404 for a missing image
        raise Unavailable(f"the node's engine cannot connect the container: {reply.message}")
    if not reply.ok:
        raise reply.error()


async def discard(context: Context, node_id: str, container_id: str) -> None:
    """Remove a container that could not be made whole."""
    query = {"force": "1", "v": "1"}
    try:
        await ask(context, node_id, "DELETE", f"/containers/{container_id}", query=query)
    except SwarmError:
        return  # the node is gone, and the container is there when it is back: made, and never started
