"""/containers/{id}/exec and /exec/{id}/…: programs that are run in a container, on whichever node it is."""

from __future__ import annotations

import re

from common.model.client import Role
from manager.api.call import Call, Relay, Reply
from manager.api.containers_locate import LOOK_SECONDS, locate
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.proxy import ask, ask_every, forward
from manager.api.proxy_hijack import hijack
from manager.api.router import Route

_ID = re.compile(r"[0-9a-f]{1,64}")


async def create(context: Context, call: Call) -> Reply:
    """Prepare a program; its id is remembered with its node."""
    found = await locate(context, call.params["id"])
    headers = {"content-type": call.headers.get("content-type", "application/json")}
    path = f"/containers/{found.id}/exec"
    reply = await ask(context, found.node_id, "POST", path, version=call.version, body=call.body, headers=headers)
    if reply.ok:
        context.containers.put(reply.json()["Id"], found.node_id)
    return reply.answer()


async def start(context: Context, call: Call) -> Relay:
    """Start a program; unless it is detached, the connection becomes its standard input and output."""
    node_id = await find(context, call.params["id"])
    return hijack(context, node_id, call, f"/exec/{call.params['id']}/start")


async def resize(context: Context, call: Call) -> Relay:
    node_id = await find(context, call.params["id"])
    return forward(context, node_id, call, f"/exec/{call.params['id']}/resize")


async def inspect(context: Context, call: Call) -> Relay:
    node_id = await find(context, call.params["id"])
    return forward(context, node_id, call, f"/exec/{call.params['id']}/json")


async def find(context: Context, exec_id: str) -> str:
    """Return the node of an exec instance; all are asked when this manager has not seen it made.

    Raises:
        EngineError: 404.

    """
    missing = EngineError(404, f"No such exec instance: {exec_id}")
    if _ID.fullmatch(exec_id) is None:
        raise missing
    known = context.containers.find(exec_id)
    if known is not None and known[1] == exec_id:
        return known[0]
    replies, _ = await ask_every(context, "GET", f"/exec/{exec_id}/json", seconds=LOOK_SECONDS)
    for node_id, reply in replies.items():
        if reply.ok:
            context.containers.put(exec_id, node_id)
            return node_id
    raise missing


ROUTES = (
    Route("POST", "/containers/{id}/exec", create, needs=Role.OPERATOR),
    Route("GET", "/exec/{id}/json", inspect, needs=Role.OPERATOR),
    Route("POST", "/exec/{id}/resize", resize, needs=Role.OPERATOR),
    Route("POST", "/exec/{id}/start", start, needs=Role.OPERATOR),
)
