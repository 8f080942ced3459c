"""etcd over its JSON gateway: HTTP on the unix socket of this host's member."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
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
    """Asks the member that listens on a unix socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        connector = aiohttp.UnixConnector(str(socket))
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_READ_BYTES)

    async def transact(self, transaction: Transaction) -> Outcome:
        return decode_transaction(transaction, await self.call("/v3/kv/txn", encode_transaction(transaction)))

    async def read(self, first: bytes, end: bytes, *, limit: int, revision: int = 0) -> Page:
        return decode_read(await self.call("/v3/kv/range", encode_read(first, end, limit, revision)))

    async def watch(self, prefix: bytes, revision: int) -> AsyncGenerator[Revision, None]:
        body = encode_watch(prefix, end_of(prefix), revision)
        try:
            async with self._session.post(f"{_GATEWAY}/v3/watch", data=body, headers=_WATCH_HEADERS) as response:
                if response.status != HTTPStatus.OK:
                    raise failure(response.status, await response.read())
                async for line in lines(response.content.iter_any()):
                    for each in decode_watched(line, revision):
                        yield each
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoAnswer(f"etcd at {self._socket} cannot be watched: {error}") from error
        raise NoAnswer(f"etcd at {self._socket} ended the watch")

    async def call(self, path: str, body: bytes) -> bytes:
        """Ask something of etcd, and return its answer.

        Raises:
            NoAnswer: there is none.
            Refused: etcd does not do it.
            Compacted: it does not have it any more.

        """
        try:
            async with self._session.post(f"{_GATEWAY}{path}", data=body) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoAnswer(f"etcd at {self._socket} does not answer: {error}") from error
        if response.status != HTTPStatus.OK:
            raise failure(response.status, content)
        return content

    async def close(self) -> None:
        await self._session.close()


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
