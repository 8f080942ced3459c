"""The way to the Docker engines of the nodes, through the connections that their agents hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import aiohttp


class Engines(Protocol):
    """Where the API gets sessions with the nodes' engines."""

    def session(self, node_id: str) -> aiohttp.ClientSession:
        """Return a new client session whose every connection ends at the engine of a node; the caller closes it.

        A node that is not connected shows when a request is made, as `Unavailable`.
        """


class ConnectedEngines:
    """Engines behind connectors, such as the dispatcher's `engine_connector`."""

    def __init__(self, connector: Callable[[str], aiohttp.BaseConnector]) -> None:
        self._connector = connector

    def session(self, node_id: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=self._connector(node_id))
