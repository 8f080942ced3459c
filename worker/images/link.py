"""Connections to other workers for their images: direct where that can be, else through the manager."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from common.errors import SwarmError, Unauthenticated, Unavailable
from common.tls import peer_name
from common.wire.channel import Channel
from common.wire.image_messages import ImageSource, RelayHello
from common.wire.server import FIRST_FRAME_BYTES, dial
from worker.config import parse_address
from worker.intake.addresses import socket_address
from worker.intake.words import Unusable, brief, identifier

_DIRECT_SECONDS = 3.0

_log = logging.getLogger(__name__)


class ImageLink:
    """Dials sources. `context` gives this node's TLS context, `manager` the address of the manager in use."""

    def __init__(self, context: Callable[[], ssl.SSLContext], manager: Callable[[], str]) -> None:
        self._context = context
        self._manager = manager

    async def dial(self, source: ImageSource) -> Channel:
        """Connect to a source; the caller closes the channel.

        Raises:
            SwarmError: neither it nor a manager can be reached.

        """
        if source.addr:
            try:
                return await self._direct(source)
            except (Unavailable, Unauthenticated, Unusable) as error:
                _log.info("%s; its image comes through the manager", error.message)
        return await self._relayed(source)

    async def _direct(self, source: ImageSource) -> Channel:
        host, port = socket_address(source.addr)
        name = peer_name(identifier(source.node_id))
        return await dial(
            str(host), port, self._context(), limit=FIRST_FRAME_BYTES, wait=_DIRECT_SECONDS, server_name=name
        )

    async def _relayed(self, source: ImageSource) -> Channel:
        address = self._manager()
        if not address:
            raise Unavailable(f"no manager can be reached to join us with {brief(source.hostname)}")
        host, port = parse_address(address)
        channel = await dial(host, port, self._context(), limit=FIRST_FRAME_BYTES)
        try:
            await channel.send(RelayHello(ticket=source.ticket))
        except SwarmError:
            await channel.close()
            raise
        return channel
