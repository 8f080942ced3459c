"""A client of the manager's Docker Engine API: JSON over a unix socket or TCP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias

import aiohttp

from common.aio.pulse import Pulse
from manager.cli.endpoint import Endpoint
from manager.cli.failures import ApiError, cannot_connect, no_answer, not_a_manager, reason_in

Params: TypeAlias = Mapping[str, str]
MultiParams: TypeAlias = Sequence[tuple[str, str]]
Filters: TypeAlias = Mapping[str, list[str]]

_CONNECT_SECONDS = 10
_WARNING = re.compile(r'199 swarm-manager "(?P<text>[^"]+)"')


class Client:
    """One connection pool to one manager; use as an async context manager.

    `warn` hears, once each, what answers lack: the nodes that said nothing.
    """

    def __init__(self, endpoint: Endpoint, warn: Callable[[str], None] | None = None) -> None:
        self.endpoint = endpoint
        self._warn = warn
        self._warned: set[str] = set()
        self._base = endpoint.base
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # How long an answer may take is nobody's to say (a registry is asked, a container stops): see `patience`.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(connector=self.endpoint.connector(), timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, params: Params | None = None, *, headers: Params | None = None) -> Any:
        return json.loads(await self.get_text(path, params, headers=headers))

    async def get_text(self, path: str, params: Params | None = None, *, headers: Params | None = None) -> str:
        """Return the answer's text as the manager wrote it.

        Raises:
            ApiError: the manager refused.
            CannotConnect: there is no manager.

        """
        async with self._request("GET", path, params, headers=headers) as response:
            return await response.text()

    async def head(self, path: str, params: Params | None = None) -> Mapping[str, str]:
        """Return an answer's headers; one that refuses says no reason."""
        async with self._request("HEAD", path, params) as response:
            return response.headers

    async def post(
        self,
        path: str,
        body: object = None,
        params: Params | None = None,
        *,
        headers: Params | None = None,
    ) -> Any:
        async with self._request("POST", path, params, body=body, headers=headers) as response:
            text = await response.text()
            return json.loads(text) if text else None

    async def delete(self, path: str, params: Params | None = None) -> Any:
        async with self._request("DELETE", path, params) as response:
            text = await response.text()
            return json.loads(text) if text else None

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Params | MultiParams | None = None,
        *,
        method: str = "GET",
        headers: Params | None = None,
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open an answer of any length, perhaps without an end: events, logs, archives, how a pull goes."""
        async with self._request(method, path, params, headers=headers, is_stream=True) as response:
            yield response.content

    @asynccontextmanager
    async def upload(
        self, path: str, data: AsyncIterator[bytes], params: MultiParams, *, headers: Params, method: str = "POST"
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Send a body of any length as it is made; the answer comes as a stream, too."""
        async with self._request(method, path, params, data=data, headers=headers, is_stream=True) as response:
            yield response.content

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
            if isinstance(error, aiohttp.ClientError):
                raise
            raise no_answer(self.endpoint.url, limit) from error

    async def _ping(self) -> None:
        assert self._session is not None, "the client is used outside of its context"
        with contextlib.suppress(aiohttp.ClientError):  # it is not hung: what it is, the request finds out
            async with self._session.get(f"{self._base}/_ping") as response:
                await response.read()

    def _hear_warning(self, header: str) -> None:
        found = _WARNING.fullmatch(header)  # others have other words for other things
        if found is not None and self._warn is not None and found["text"] not in self._warned:
            self._warned.add(found["text"])
            self._warn(found["text"])

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        params: Params | MultiParams | None,
        *,
        body: object = None,
        data: AsyncIterator[bytes] | None = None,
        headers: Params | None = None,
        is_stream: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "the client is used outside of its context"
        try:
            async with self.watched() as watch:
                extra: dict[str, Any] = {"json": body} if data is None else {"data": _noted(data, watch)}
                async with self._session.request(
                    method, self._base + path, params=params, headers=headers, **extra
                ) as response:
                    if response.status == 503 and response.headers.get("Server", "").startswith("Docker/"):
                        raise not_a_manager(self.endpoint.url)
                    if response.status >= 400:
                        raise ApiError(
                            response.status, reason_in(await response.text(), f"{response.status} {response.reason}")
                        )
                    self._hear_warning(response.headers.get("Warning", ""))
                    if is_stream:
                        watch.end()
                    yield response
        except TimeoutError as error:  # in connecting
            raise cannot_connect(self.endpoint.url, TimeoutError("it does not answer in time")) from error
        except aiohttp.ClientConnectorError as error:
            raise cannot_connect(self.endpoint.url, error.os_error) from error
        except aiohttp.ClientError as error:
            raise cannot_connect(self.endpoint.url, error) from error


async def _noted(data: AsyncIterator[bytes], watch: Watch) -> AsyncIterator[bytes]:
    """Pass a body on, and note each time that the manager has taken some of it."""
    async for chunk in data:
        yield chunk
        watch.heard()


def filtered(filters: Filters | None) -> dict[str, str]:
    """Make the query parameter of a list that is filtered."""
    return {"filters": json.dumps(filters)} if filters else {}


# How long a command waits: for as long as the manager lives. An answer may take its time, a ping may not.


# After so long without an answer the manager is pinged beside it, and has so long to answer that.
SILENT_SECONDS = 10.0
PING_SECONDS = 10.0


class Watch:
    """The watch over one request, which `watching` keeps."""

    def __init__(self, pulse: Pulse, watching: asyncio.Task[None]) -> None:
        self.heard = pulse.heard  # the manager has just given or taken something
        self._watching = watching

    def end(self) -> None:
        """Watch no more: what comes now may be silent for as long as it likes."""
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
