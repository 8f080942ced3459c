"""/containers/{id}/exec and /exec/{id}/…: programs that are run in a container, on whichever node it is."""

from __future__ import annotations

import re

from common.errors import Unavailable
from common.model.client import Role
from manager.api.call import Call, Relay, Reply
from manager.api.containers.locate import LOOK_SECONDS, locate, several_owners
from manager.api.context import Context
from manager.api.engine.hijack import hijack
from manager.api.engine.presence import node_name, ready_ids
from manager.api.engine.proxy import ask, ask_all, forward
from manager.api.engine.types import CreatedExec, Exec
from manager.api.errors import EngineError
from manager.api.router import Route

_ID = re.compile(r"[0-9a-f]{1,64}")


async def create(context: Context, call: Call) -> Reply:
    """Prepare a program; its id is remembered with its node."""
    found = await locate(context, call.params["id"])
    headers = {"content-type": call.headers.get("content-type", "application/json")}
    path = f"/containers/{found.id}/exec"
    reply = await ask(context, found.node_id, "POST", path, version=call.version, body=call.body, headers=headers)
    if reply.ok:
        made = reply.read(CreatedExec)["Id"]
        if not context.containers.put(made, found.node_id, made=True):
            raise reply.wrong(
                f"the new exec instance has the id {made[:12]}, which belongs to a container of another node"
            )
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
        EngineError: 404, no node has it; 409, several say that they have.
        Unavailable: no node that answered has it, and others did not answer: they come back after a takeover.

    """
    missing = EngineError(404, f"No such exec instance: {exec_id}")
    if _ID.fullmatch(exec_id) is None:
        raise missing
    known = context.containers.find(exec_id)
    if known is not None and known[1] == exec_id:
        return known[0].node_id

    async def one(node_id: str) -> bool:
        reply = await ask(context, node_id, "GET", f"/exec/{exec_id}/json", seconds=None)
        return reply.ok and reply.read(Exec)["ID"] == exec_id

    answered, reasons = await ask_all(one, ready_ids(context.store.view), seconds=LOOK_SECONDS)
    nodes = [node_id for node_id, has in answered.items() if has]
    if not nodes and reasons:
        away = ", ".join(sorted(node_name(context.store.view, node_id) for node_id in reasons))
        raise Unavailable(f"exec {exec_id} was not found (not asked, as they do not answer: {away}): try again")
    if not nodes:
        raise missing
    if len(nodes) > 1:
        raise several_owners(context.store.view, f"with the exec instance {exec_id[:12]}", nodes)
    if not reasons:
        context.containers.put(exec_id, nodes[0])
    return nodes[0]


ROUTES = (
    Route("POST", "/containers/{id}/exec", create, needs=Role.OPERATOR),
    Route("GET", "/exec/{id}/json", inspect, needs=Role.OPERATOR),
    Route("POST", "/exec/{id}/resize", resize, needs=Role.OPERATOR),
    Route("POST", "/exec/{id}/start", start, needs=Role.OPERATOR),
)
