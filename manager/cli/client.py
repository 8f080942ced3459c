"""A client of the manager's Docker Engine API: JSON over a unix socket or TCP.

A command waits for as long as the manager lives: an answer may take its time, a ping may not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import quote, urlencode

from common.aio.pulse import Pulse
from common.errors import SwarmError
from manager.cli.connection import Answer, Connection
from manager.cli.endpoint import Endpoint
from manager.cli.failures import cannot_connect, no_answer, not_a_manager, refusal

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from manager.cli.streaming import Streams

Params: TypeAlias = Mapping[str, str]
MultiParams: TypeAlias = Sequence[tuple[str, str]]
Filters: TypeAlias = Mapping[str, list[str]]

_WARNING = re.compile(r'199 swarm-manager "(?P<text>[^"]+)"')
_IGNORED = str.maketrans("", "", "\t\r\n")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

# After so long without an answer the manager is pinged beside it, and has so long to answer that.
SILENT_SECONDS = 10.0
PING_SECONDS = 10.0


class Client:
    """What asks one manager; use as an async context manager.

    `warn` hears, once each, what answers lack: the nodes that said nothing. `headers` go with every request.
    """

    def __init__(
        self, endpoint: Endpoint, warn: Callable[[str], None] | None = None, headers: Params | None = None
    ) -> None:
        self.endpoint = endpoint
        self._headers = headers or {}
        self._warn = warn
        self._warned: set[str] = set()
        self._idle: list[Connection] = []
        self._streams: Streams | None = None
        self._end = AsyncExitStack()
        _ = endpoint.base  # what is wrong with the address is said at once

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.close()
        await self._end.aclose()

    async def get(self, path: str, params: Params | None = None, *, headers: Params | None = None) -> Any:
        return self.decoded(await self.get_text(path, params, headers=headers))

    async def get_text(self, path: str, params: Params | None = None, *, headers: Params | None = None) -> str:
        """Return the answer's text as the manager wrote it.

        Raises:
            ApiError: the manager refused.
            CannotConnect: no manager answers at this address.

        """
        return (await self._ask("GET", path, params, headers=headers)).text

    def decoded(self, text: str | bytes) -> Any:
        """Read JSON that a manager has sent.

        Raises:
            CannotConnect: it is none: no manager has sent it.

        """
        try:
            return json.loads(text)
        except ValueError as error:
            raise not_a_manager(self.endpoint.url) from error

    async def head(self, path: str, params: Params | None = None) -> Mapping[str, str]:
        """Return an answer's headers, their names in lower case; one that refuses says no reason."""
        return (await self._ask("HEAD", path, params)).headers

    async def post(
        self,
        path: str,
        body: object = None,
        params: Params | None = None,
        *,
        headers: Params | None = None,
    ) -> Any:
        text = (await self._ask("POST", path, params, body=body, headers=headers)).text
        return self.decoded(text) if text else None

    async def delete(self, path: str, params: Params | None = None) -> Any:
        text = (await self._ask("DELETE", path, params)).text
        return self.decoded(text) if text else None

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Params | MultiParams | None = None,
        *,
        method: str = "GET",
        headers: Params | None = None,
    ) -> AsyncIterator[StreamReader]:
        """Open an answer of any length, perhaps without an end: events, logs, archives, how a pull goes."""
        async with self._streamed(method, path, params, headers, None) as content:
            yield content

    @asynccontextmanager
    async def upload(
        self, path: str, data: AsyncIterator[bytes], params: MultiParams, *, headers: Params, method: str = "POST"
    ) -> AsyncIterator[StreamReader]:
        """Send a body of any length as it is made; the answer comes as a stream, too."""
        async with self._streamed(method, path, params, headers, data) as content:
            yield content

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watch]:
        """Run a request for as long as the manager lives.

        Raises:
            CannotConnect: it takes connections and does not answer.

        """
        limit = SILENT_SECONDS + PING_SECONDS
        try:
            async with while_it_lives(self._ping) as watch:
                yield watch
        except TimeoutError as error:
            raise no_answer(self.endpoint.url, limit) from error

    async def _ping(self) -> None:
        with contextlib.suppress(SwarmError, OSError):  # it is not hung: what it is, the request finds out
            await self._exchange(await Connection.to(self.endpoint), "GET", "/_ping", {}, None)

    def _hear_warning(self, header: str) -> None:
        found = _WARNING.fullmatch(header)  # others have other words for other things
        if found is not None and self._warn is not None and found["text"] not in self._warned:
            self._warned.add(found["text"])
            self._warn(found["text"])

    async def _ask(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        body: object = None,
        headers: Params | None = None,
    ) -> Answer:
        """Make a request, and return its answer when it is there as a whole."""
        target = _target(path, params)
        content = None if body is None else json.dumps(body).encode()
        described = {
            **self._headers,
            **(headers or {}),
            **({} if content is None else {"Content-Type": "application/json"}),
        }
        async with self.watched():
            try:
                answer = await self._answer(method, target, described, content)
            except OSError as error:
                raise cannot_connect(self.endpoint.url, error) from error
        if answer.status >= 400:
            server = answer.headers.get("server", "")
            raise refusal(self.endpoint.url, answer.status, answer.reason, server, answer.text)
        self._hear_warning(answer.headers.get("warning", ""))
        return answer

    async def _answer(self, method: str, target: str, headers: Params, content: bytes | None) -> Answer:
        """Ask on a connection that is there, where asking again does no harm if it has just been closed."""
        if method == "GET" and self._idle:
            with contextlib.suppress(ConnectionError):
                return await self._exchange(self._idle.pop(), method, target, headers, content)
        return await self._exchange(await Connection.to(self.endpoint), method, target, headers, content)

    async def _exchange(
        self, connection: Connection, method: str, target: str, headers: Params, content: bytes | None
    ) -> Answer:
        try:
            return await connection.exchange(method, target, headers, content)
        finally:
            if connection.is_reusable:
                self._idle.append(connection)
            else:
                connection.close()

    @asynccontextmanager
    async def _streamed(
        self,
        method: str,
        path: str,
        params: Params | MultiParams | None,
        headers: Params | None,
        data: AsyncIterator[bytes] | None,
    ) -> AsyncIterator[StreamReader]:
        if self._streams is None:
            from manager.cli.streaming import Streams  # noqa: PLC0415 - aiohttp is loaded for streams alone

            self._streams = await self._end.enter_async_context(Streams(self.endpoint))
        async with self.watched() as watch:
            body = None if data is None else _note_progress(data, watch)
            async with self._streams.open(
                method, path, params, headers={**self._headers, **(headers or {})}, data=body
            ) as response:
                self._hear_warning(response.headers.get("Warning", ""))
                watch.end()
                yield response.content


def _target(path: str, params: Params | None) -> str:
    """Write path and query as they are sent; what the path has escaped stays so.

    Tabs and ends of lines are not part of an address, as the URL Standard has it.
    """
    escaped = quote(_PERCENT.sub("%25", path.translate(_IGNORED)), safe="/%:@!$&'()*+,;=~")
    return f"{escaped}?{urlencode(params, quote_via=quote)}" if params else escaped


async def _note_progress(data: AsyncIterator[bytes], watch: Watch) -> AsyncIterator[bytes]:
    """Pass a body on, and note each time that the manager has taken some of it."""
    async for chunk in data:
        yield chunk
        watch.heard()


def filter_query(filters: Filters | None) -> dict[str, str]:
    """Make the query parameter of a list that is filtered."""
    return {"filters": json.dumps(filters)} if filters else {}


# --- how long a command waits ---


class Watch:
    """The watch over one request, which `watching` keeps."""

    def __init__(self, pulse: Pulse, watching: asyncio.Task[None]) -> None:
        self.heard = pulse.heard  # the manager has just given or taken something
        self._watching = watching

    def end(self) -> None:
        """Stop watching: what follows may be silent for any time."""
        self._watching.cancel()


@asynccontextmanager
async def while_it_lives(ping: Callable[[], Awaitable[None]]) -> AsyncIterator[Watch]:
    """Run the block for as long as the manager answers `ping`; that it cannot be reached is the block's to find out.

    Raises:
        TimeoutError: it takes connections and does not answer.

    """
    async with asyncio.timeout(None) as limit:
        pulse = Pulse(ping, SILENT_SECONDS, PING_SECONDS)
        pulse.heard()
        watching = asyncio.create_task(_end_when_stopped(limit, pulse))
        try:
            yield Watch(pulse, watching)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            if not watching.cancelled():
                watching.result()


async def _end_when_stopped(limit: asyncio.Timeout, pulse: Pulse) -> None:
    await pulse.stopped()
    limit.reschedule(asyncio.get_running_loop().time())
