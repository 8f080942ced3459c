"""A bare connection to the engine, for what a manager sends it byte for byte."""

from __future__ import annotations

import asyncio

from common.errors import InvalidArgument
from common.wire.splice import CHUNK
from worker.config import parse_address


async def open_engine(host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the engine at a Docker host.

    Raises:
        OSError: nothing answers there.

    """
    if host.startswith("unix://"):
        return await asyncio.open_unix_connection(host.removeprefix("unix://"), limit=CHUNK)
    if host.startswith("tcp://"):
        return await asyncio.open_connection(*parse_address(host.removeprefix("tcp://")), limit=CHUNK)
    raise InvalidArgument(f"cannot connect to the Docker host {host!r}")
