"""etcd over its JSON gateway: HTTP on the unix socket of this host's member, or TLS to one that others run."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from http import HTTPStatus
from pathlib import Path

import aiohttp

from manager.store.backends.etcd.api import NoAnswer, Outcome, Page, Revision, Transaction, end_of
from manager.store.backends.etcd.messages import (
    decode_read,
    decode_transaction,
    decode_watched,
    encode_read,
    encode_transaction,
    encode_watch,
    failure,
)

# etcd ends a watch of a member that has no leader, instead of saying nothing.
_WATCH_HEADERS = {"Grpc-Metadata-hasleader": "true"}
# A name that a URL needs: the socket is the address.
_GATEWAY = "http://etcd"
_CONNECT_SECONDS = 2.0
# Two commits' worth: more would only be held in memory.
_READ_BYTES = 1 << 22


class EtcdClient:
    """Asks the member that listens on a unix socket; or one of those at `endpoints`, and the next where that fails."""

    def __init__(
        self, socket: Path | None, endpoints: Sequence[str] = (), context: ssl.SSLContext | None = None
    ) -> None:
        self._names = deque(endpoints or (str(socket),))
        self._bases = deque(endpoints or (_GATEWAY,))
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        connector = (
            aiohttp.UnixConnector(str(socket)) if socket is not None else aiohttp.TCPConnector(ssl=context or True)
        )
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_READ_BYTES)

    def _turn(self) -> None:
        """Ask another member next."""
        self._names.rotate(-1)
        self._bases.rotate(-1)

    async def transact(self, transaction: Transaction) -> Outcome:
        return decode_transaction(transaction, await self.call("/v3/kv/txn", encode_transaction(transaction)))

    async def read(self, first: bytes, end: bytes, *, limit: int, revision: int = 0) -> Page:
        return decode_read(await self.call("/v3/kv/range", encode_read(first, end, limit, revision)))

    async def watch(self, prefix: bytes, revision: int) -> AsyncGenerator[Revision, None]:
        body = encode_watch(prefix, end_of(prefix), revision)
        try:
            async with self._session.post(f"{self._bases[0]}/v3/watch", data=body, headers=_WATCH_HEADERS) as response:
                if response.status != HTTPStatus.OK:
                    raise failure(response.status, await response.read())
                async for line in lines(response.content.iter_any()):
                    for each in decode_watched(line, revision):
                        yield each
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            name = self._names[0]
            self._turn()
            raise NoAnswer(f"etcd at {name} cannot be watched: {error}") from error
        raise NoAnswer(f"etcd at {self._names[0]} ended the watch")

    async def call(self, path: str, body: bytes) -> bytes:
        """Ask something of etcd, and return its answer.

        Raises:
            NoAnswer: etcd did not answer.
            Refused: etcd does not do it.
            Compacted: etcd no longer has the revision.

        """
        response, content = await self._post(path, body)
        if response.status != HTTPStatus.OK:
            raise failure(response.status, content)
        return content

    async def _post(self, path: str, body: bytes, tries: int | None = None) -> tuple[aiohttp.ClientResponse, bytes]:
        """Send a request; where nothing takes it another member is asked, each once."""
        left = len(self._bases) if tries is None else tries
        try:
            async with self._session.post(f"{self._bases[0]}{path}", data=body) as response:
                return response, await response.read()
        except asyncio.CancelledError:  # who asked has waited for long enough
            self._turn()
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            name = self._names[0]
            self._turn()
            if isinstance(error, aiohttp.ClientConnectorError) and left > 1:
                return await self._post(path, body, left - 1)
            raise NoAnswer(f"etcd at {name} does not answer: {error}") from error

    async def close(self) -> None:
        await self._session.close()


async def ask_peer(url: str, path: str, context: ssl.SSLContext | None, name: str, seconds: float) -> bytes:
    """Ask the member at a peer's URL for what it tells other members; `context` shows it that this is one.

    `name` is the one in its certificate.

    Raises:
        NoAnswer: it does not tell within so many seconds.

    """
    connector = aiohttp.TCPConnector(ssl=context or True)
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(f"{url}{path}", server_hostname=name if context else None) as response,
        ):
            content = await response.read()
            if response.status != HTTPStatus.OK:
                raise NoAnswer(f"etcd at {url} answers {path} with {response.status}")
            return content
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise NoAnswer(f"etcd at {url} does not answer {path}: {error}") from error


async def lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a stream, however long they are; without what comes after the last line's end."""
    pending: list[bytes] = []
    async for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            line = b"".join((*pending, part))
            pending.clear()
            if line:
                yield line
        if rest:
            pending.append(rest)
