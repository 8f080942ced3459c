"""`ssh://[USER@]HOST[:PORT][/PATH]`: the manager's socket on another host, brought here by the user's own ssh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from common.errors import InvalidArgument
from common.process.hosts import MANAGER_HOST
from manager.cli.endpoint import SSH, Endpoint
from manager.cli.failures import CannotConnect


@asynccontextmanager
async def reached(endpoint: Endpoint) -> AsyncIterator[Endpoint]:
    """Yield the endpoint as it can be connected to; one behind ssh has its socket here for as long.

    Raises:
        InvalidArgument: its address names no host.
        CannotConnect: ssh does not get there.

    """
    if not endpoint.url.startswith(SSH):
        yield endpoint
        return
    import tempfile  # noqa: PLC0415 - it brings compression along, which other addresses do without

    target, remote = _parsed(endpoint.url)
    with tempfile.TemporaryDirectory(prefix="swarm-manager-") as folder:
        local, control = f"{folder}/docker.sock", f"{folder}/ssh"
        # It goes into the background when the socket is there; until then it may ask for a password.
        forward = ("-f", "-N", "-M", "-o", "ExitOnForwardFailure=yes", "-L", f"{local}:{remote}")
        if await _ssh(control, *forward, *target):
            raise CannotConnect(
                f"Cannot reach the manager at {endpoint.url}: ssh failed, and has said why.\nWhat is forwarded is the "
                f"socket {remote} there, which root may use, and who is in the group swarm."
            )
        try:
            yield replace(endpoint, tunnel=local)
        finally:
            await _ssh(control, "-q", "-O", "exit", *target)


def _parsed(url: str) -> tuple[tuple[str, ...], str]:
    """Return ssh's arguments for an address, and the socket that it means there."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or parts.hostname.startswith("-") or parts.password or (":" in parts.netloc and not port):
        raise InvalidArgument(f"invalid address {url!r}: write it as ssh://[USER@]HOST[:PORT]")
    options = (*(("-l", parts.username) if parts.username else ()), *(("-p", str(port)) if port else ()))
    path = parts.path if parts.path not in ("", "/") else MANAGER_HOST.removeprefix("unix://")
    return (*options, "--", parts.hostname), path


async def _ssh(control: str, *arguments: str) -> int:
    try:
        process = await asyncio.create_subprocess_exec("ssh", "-S", control, *arguments)
    except OSError as error:
        raise CannotConnect(
            f"Cannot run ssh: {error.strerror}: install it, or give a unix:// or tcp:// address"
        ) from error
    return await process.wait()
