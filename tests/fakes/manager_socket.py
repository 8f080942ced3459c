"""A manager, or an engine, that a test plays on a unix socket, and the command line's client of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from manager.cli.client import Client
from manager.cli.endpoint import Endpoint

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def client_of(handle: Handler, folder: Path, warn: Callable[[str], None] | None = None) -> AsyncIterator[Client]:
    """Answer each request with `handle`, at a socket in `folder`."""
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(folder / "socket")).start()
        async with Client(Endpoint(f"unix://{folder}/socket"), warn) as client:
            yield client
    finally:
        await runner.cleanup()
