"""A client of the API without HTTP: calls go in, statuses and decoded JSON come out."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from common.errors import SwarmError
from common.model.client import Role
from manager.api.access.roles import Caller
from manager.api.app import Api
from manager.api.call import Answer, Call, Relay
from manager.api.errors import describe

RPC = "rpc error: code = {} desc = {}"
"""A refusal as the engine words it: the code's name, what is wrong."""
OUT_OF_SEQUENCE = (500, RPC.format("Unknown", "update out of sequence"))
ADMIN = Caller("tester", "unix", Role.ADMIN, uid=0, pid=1)


class Answered:
    """The client's end of a relayed request that has no body but the call's."""

    has_body = False

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.data = b""

    async def body(self) -> AsyncIterator[bytes]:
        return
        yield

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, dict(headers)

    async def send(self, data: bytes) -> None:
        self.data += data

    async def take_over(self, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise NotImplementedError(head)


async def relayed(relay: Relay) -> tuple[int, Any]:
    """Let a relay run; return the status, and the answer decoded where it is JSON. What fails before is an error."""
    exchange = Answered()
    try:
        await relay.run(exchange)
    except SwarmError as error:
        if exchange.status:
            raise
        status, message = describe(error)
        return status, {"message": message}
    try:
        return exchange.status, json.loads(exchange.data)
    except ValueError:
        return exchange.status, exchange.data


class Client:
    """Speaks to an `Api` in this process."""

    def __init__(self, api: Api, caller: Caller = ADMIN) -> None:
        self._api = api
        self._caller = caller
        self.role = caller.role.label if caller.role is not None else "none"

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a request; `path` may have a query. Returns the status, and the answer decoded where it is JSON."""
        path, _, query = path.partition("?")
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        call = Call(
            method,
            path,
            query={name: value for name, _, value in pairs},
            headers={**({"content-type": "application/json"} if data else {}), **(headers or {})},
            body=data,
            caller=self._caller,
        )
        return await self.reply(call)

    async def reply(self, call: Call) -> tuple[int, Any]:
        reply = await self._api.answer(call)
        if isinstance(reply, Answer):
            if isinstance(reply.value, bytes) or reply.value is None:
                return reply.status, reply.value
            return reply.status, json.loads(msgspec.json.encode(reply.value))
        if isinstance(reply, Relay):
            return await relayed(reply)
        sent = bytearray()

        async def send(data: bytes) -> None:
            sent.extend(data)

        await reply.produce(send)
        return reply.status, bytes(sent)

    async def get(self, path: str) -> Any:
        """GET what must be there."""
        status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return json.loads(answer) if isinstance(answer, bytes) and answer[:1] in (b"[", b"{") else answer

    async def error(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Send what must fail; return the status and the message."""
        status, answer = await self.ask(method, path, body, headers)
        assert status >= 400, answer
        assert list(answer) == ["message"], answer
        return status, answer["message"]

    async def version(self, path: str) -> int:
        """Return the index of an object's version, which an update of it names."""
        return int((await self.get(path))["Version"]["Index"])

    async def make(self, path: str, body: Any, headers: dict[str, str] | None = None) -> str:
        """POST what must succeed; return the id."""
        status, answer = await self.ask("POST", path, body, headers)
        assert status == 201, answer
        return str(answer.get("ID") or answer["Id"])
