"""The nodes' engines as the API asks for them: through the dispatcher of now, which there is only while this leads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import aiohttp

from common.errors import Unavailable
from manager.api.engine.connections import Duplex
from manager.dispatch.dispatcher import Dispatcher


class LeadersEngines:
    """The `Engines` (manager.api.engine.connections) of a manager. `present` returns the dispatcher of now.

    All raise `Unavailable` while there is none.
    """

    def __init__(self, present: Callable[[], Dispatcher | None]) -> None:
        self._present = present

    @property
    def _dispatcher(self) -> Dispatcher:
        dispatcher = self._present()
        if dispatcher is None:
            raise Unavailable("this manager does not lead the cluster, so no worker is connected to it: try again")
        return dispatcher

    def session(self, node_id: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=self._dispatcher.engine_connector(node_id))

    async def connect(self, node_id: str) -> Duplex:
        return await self._dispatcher.open_stream(node_id, "engine")

    async def metrics(self, node_id: str) -> Duplex:
        return await self._dispatcher.open_stream(node_id, "metrics")

    async def volumes(self, node_id: str, target: str) -> Duplex:
        return await self._dispatcher.open_stream(node_id, target)

    async def image_holders(self, image_id: str) -> Mapping[str, str]:
        return await self._dispatcher.images.holders(image_id)

    async def bring_image(self, node_id: str, image_id: str) -> str:
        return await self._dispatcher.images.bring(node_id, image_id)

    async def applied(self) -> None:
        await self._dispatcher.applied()
