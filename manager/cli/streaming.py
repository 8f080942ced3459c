"""Requests whose bodies or answers are streams, with aiohttp: events, logs, archives, how a pull goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

from manager.cli.endpoint import Endpoint
from manager.cli.failures import BROKE_OFF, NOT_HTTP, cannot_connect, refusal

_CONNECT_SECONDS = 10.0


class Streams:
    """One pool of connections to one manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # How long an answer may take is nobody's to say (a registry is asked, a container stops): see `while_it_lives`.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector_to(endpoint), timeout=timeout)

    async def __aenter__(self) -> Self:
        # aiohttp writes a body in a task of its own, whose failure it may leave to the loop.
        asyncio.get_running_loop().set_exception_handler(_tell_of_others)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None,
        *,
        headers: Mapping[str, str] | None = None,
        data: AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request whose body is sent as it is made; yield the answer when its head has come.

        Raises:
            ApiError: the manager refused.
            CannotConnect: no manager answers, or the connection broke.

        """
        url = self._endpoint.url
        try:
            async with self._session.request(
                method, self._endpoint.base + path, params=params, headers=headers, data=data
            ) as response:
                if response.status >= 400:
                    server, reason = response.headers.get("Server", ""), response.reason or ""
                    raise refusal(url, response.status, reason, server, await response.text())
                yield response
        except aiohttp.ClientConnectorError as error:
            raise cannot_connect(url, error.os_error) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise cannot_connect(url, TimeoutError("it does not answer in time")) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError) as error:
            raise cannot_connect(url, ConnectionError(BROKE_OFF)) from error
        except aiohttp.ClientResponseError as error:
            raise cannot_connect(url, ConnectionError(NOT_HTTP)) from error
        except aiohttp.ClientError as error:
            raise cannot_connect(url, error) from error


def _tell_of_others(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what went wrong in the background, but for a broken connection: the request over it fails, and says so."""
    if not isinstance(context.get("exception"), aiohttp.ClientConnectionError):
        loop.default_exception_handler(context)


def connector_to(endpoint: Endpoint, limit: int = 100) -> aiohttp.BaseConnector:
    """Return what connects to a manager, at most so many times at once (0: as often as asked)."""
    if endpoint.socket:
        return aiohttp.UnixConnector(path=endpoint.socket, limit=limit)
    return aiohttp.TCPConnector(ssl=endpoint.tls() if endpoint.certificates else True, limit=limit)
