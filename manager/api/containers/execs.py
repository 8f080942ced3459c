"""/containers/{id}/exec and /exec/{id}/…: programs that are run in a container, on whichever node it is.

/exec/{id}/ws is a terminal in a browser, on a program that was made with one. Bytes come and go as binary messages;
`{"resize": [columns, rows]}` as text says how large the terminal is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any

import msgspec

from common.errors import Unavailable
from common.model.client import Role
from common.spec.extensions import read_cluster
from manager.api.call import JSON, Call, Exchange, Relay, Reply
from manager.api.containers.locate import LOOK_SECONDS, locate, several_owners_error
from manager.api.context import Context
from manager.api.engine.connections import Duplex
from manager.api.engine.forward import forward
from manager.api.engine.hijack import hijack, opened_stream
from manager.api.engine.presence import ready_ids
from manager.api.engine.proxy import ask, ask_all
from manager.api.engine.types import CreatedExec, Exec, ExecInspect
from manager.api.errors import EngineError, invalid
from manager.api.http.websocket import GOING_AWAY, WebSocket, handshake
from manager.api.router import Route
from manager.domain.hostnames import node_name
from manager.store.view import View

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
    """Return the node of an exec instance; all nodes are asked if this manager has not seen its creation.

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
    nodes = [node_id for node_id, found in answered.items() if found]
    if not nodes and reasons:
        away = ", ".join(sorted(node_name(context.store.view, node_id) for node_id in reasons))
        raise Unavailable(f"exec {exec_id} was not found (not asked, as they do not answer: {away}): try again")
    if not nodes:
        raise missing
    if len(nodes) > 1:
        raise several_owners_error(context.store.view, f"with the exec instance {exec_id[:12]}", nodes)
    if not reasons:
        context.containers.put(exec_id, nodes[0])
    return nodes[0]


PROTOCOL = "swarm.dashboard"
# A terminal ends after so many seconds without input: it may have been left open.
IDLE_SECONDS = 15 * 60.0
_CHUNK = 64 * 1024
_LARGEST = 1000
_START = b'{"Detach":false,"Tty":true}'


class Resize(msgspec.Struct, frozen=True):
    """How large the terminal is: columns and rows."""

    resize: tuple[int, int]


def are_allowed(view: View) -> bool:
    """Whether the cluster lets browsers have terminals."""
    return all(read_cluster(each.spec.labels).dashboard_terminal == "on" for each in view.clusters)


async def terminal(context: Context, call: Call) -> Relay:
    exec_id = call.params["id"]
    if not are_allowed(context.store.view):
        raise EngineError(403, "terminals are switched off: 'swarm-manager cluster update --dashboard-terminal on'")
    head = handshake(call.headers, PROTOCOL)
    node_id = await find(context, exec_id)
    reply = await ask(context, node_id, "GET", f"/exec/{exec_id}/json")
    if reply.ok and not (reply.read(ExecInspect)["ProcessConfig"] or {}).get("tty"):
        raise invalid(f"the exec instance {exec_id[:12]} has no terminal: make it with Tty")
    path = f"/exec/{exec_id}/start"
    headers = {"content-type": JSON, "upgrade": "tcp"}
    start = msgspec.structs.replace(call, method="POST", headers=headers, repeated={}, body=_START)

    async def run(exchange: Exchange) -> None:
        async with opened_stream(context, node_id, start, path, exchange) as engine:
            if engine is None:
                return
            reader, writer = await exchange.take_over(head)
            try:
                await _Conversation(context, node_id, exec_id, WebSocket(reader, writer), engine).run()
            finally:
                writer.close()

    return Relay(run)


class _Conversation:
    """Carries bytes between a browser and a program until one of them ends, or nothing was typed for a while."""

    def __init__(self, context: Context, node_id: str, exec_id: str, socket: WebSocket, engine: Duplex) -> None:
        self._context = context
        self._node_id = node_id
        self._exec_id = exec_id
        self._socket = socket
        self._reader, self._writer = engine
        self._idle = asyncio.timeout(IDLE_SECONDS)

    async def run(self) -> None:
        try:
            async with self._idle, self._context.presence.guard(self._context.store.view, self._node_id):
                await _first(self._said(), self._typed())
            await self._socket.close()
        except TimeoutError:
            await self._socket.close(GOING_AWAY, f"nobody has typed for {IDLE_SECONDS / 60:g} minutes")
        except Unavailable as error:
            await self._socket.close(GOING_AWAY, error.message)

    async def _said(self) -> None:
        """Send what the program writes. No more is read of it than the browser takes."""
        while data := await self._reader.read(_CHUNK):
            await self._socket.send(data)

    async def _typed(self) -> None:
        while (message := await self._socket.receive()) is not None:
            if message.is_text:
                await self._resize(message.data)
                continue
            self._idle.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS)
            self._writer.write(message.data)
            await self._writer.drain()

    async def _resize(self, text: bytes) -> None:
        """Tell the engine how large the terminal is; what is not a size is passed over, as a terminal does."""
        try:
            columns, rows = msgspec.json.decode(text, type=Resize).resize
        except msgspec.DecodeError:
            return
        if 0 < columns <= _LARGEST and 0 < rows <= _LARGEST:
            path, query = f"/exec/{self._exec_id}/resize", {"w": str(columns), "h": str(rows)}
            await ask(self._context, self._node_id, "POST", path, query=query)


async def _first(*ways: Coroutine[Any, Any, None]) -> None:
    """Run both ways until one is done, and end the other."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


ROUTES = (
    Route("POST", "/containers/{id}/exec", create, needs=Role.OPERATOR),
    Route("GET", "/exec/{id}/json", inspect, needs=Role.OPERATOR),
    Route("POST", "/exec/{id}/resize", resize, needs=Role.OPERATOR),
    Route("POST", "/exec/{id}/start", start, needs=Role.OPERATOR),
    Route("GET", "/exec/{id}/ws", terminal, needs=Role.OPERATOR),
)
