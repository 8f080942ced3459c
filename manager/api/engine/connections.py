"""The way to the Docker engines of the nodes, through the connections that their agents hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

import aiohttp

Duplex: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Engines(Protocol):
    """Where the API gets sessions with the nodes' engines."""

    def session(self, node_id: str) -> aiohttp.ClientSession:
        """Return a new client session whose every connection ends at the engine of a node; the caller closes it.

        A node that is not connected shows when a request is made, as `Unavailable`.
        """

    async def connect(self, node_id: str) -> Duplex:
        """Open a bare connection to the engine of a node; the caller closes the writer.

        Raises:
            Unavailable: the node is not connected.

        """

    async def metrics(self, node_id: str) -> Duplex:
        """Open a stream of the page of metrics that a node's worker writes; the caller closes the writer.

        Raises:
            Unavailable: the node is not connected, or its worker has no such page.

        """

    async def volumes(self, node_id: str, target: str) -> Duplex:
        """Open a stream of a copy of volumes, or of an archive; the caller closes the writer.

        `target` as in `common.wire.volume_copy`.

        Raises:
            Unavailable: the node is not connected, or its worker copies none.

        """

    def connected(self) -> frozenset[str]:
        """Return the nodes that are connected: to a manager that has just begun to lead, few of those that are up."""

    async def image_holders(self, image_id: str) -> Mapping[str, str]:
        """Ask all connected nodes which hold an image, by its id or the beginning of it; return its id by node id."""

    async def bring_image(self, node_id: str, image_id: str) -> str:
        """Have a node fetch an image from others; return what its engine knows it as.

        Raises:
            SwarmError: it could not.

        """

    async def applied(self) -> None:
        """Wait until all connected nodes have applied what is decided now; late ones are passed over."""


@asynccontextmanager
async def passing_on(ends: Duplex) -> AsyncIterator[Duplex]:
    """Hold a connection that a client's bytes are passed on by.

    When the block fails, as the client or the other end is gone, it is cut, not closed.
    """
    reader, writer = ends
    try:
        yield reader, writer
    except BaseException:
        writer.transport.abort()
        raise
    writer.close()
