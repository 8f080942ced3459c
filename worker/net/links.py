"""Single links: make, set up, delete. What the plan has beside them is the business of worker.net.netlink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from common.errors import Unavailable

PATIENCE_SECONDS = 10.0
_NO_SUCH_DEVICE = 19


async def add(name: str, kind: str) -> None:
    """Make a link.

    Raises:
        Unavailable: the kernel refuses.

    """
    async with _kernel(f"make link {name} of kind {kind}") as route:
        await route.link("add", ifname=name, kind=kind)


async def set_up(name: str, mtu: int, address: str) -> None:
    """Set a link up, with this MTU and an address (CIDR); errors as `add`."""
    host, _, length = address.partition("/")
    async with _kernel(f"set up link {name}") as route:
        (index,) = await route.link_lookup(ifname=name)
        await route.addr("replace", index=index, address=host, prefixlen=int(length))
        await route.link("set", index=index, mtu=mtu, state="up")


async def delete(name: str) -> None:
    """Delete a link; one that is not there is no error. Errors as `add`."""
    async with _kernel(f"delete link {name}") as route:
        for index in await route.link_lookup(ifname=name):
            try:
                await route.link("del", index=index)
            except NetlinkError as error:
                if error.code != _NO_SUCH_DEVICE:
                    raise


@asynccontextmanager
async def _kernel(what: str) -> AsyncIterator[AsyncIPRoute]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), AsyncIPRoute() as route:
            yield route
    except (NetlinkError, OSError, ValueError) as error:
        raise Unavailable(f"cannot {what}: {error}") from error
