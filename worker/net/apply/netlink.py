"""Bring links, addresses, neighbours and routes to what the plan says: read what is there, change what differs.

All that is ours can be told from the rest: it is on our tunnel, or carries our number as its origin.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from types import TracebackType
from typing import Any, Self

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from common.errors import Unavailable
from worker.intake.identifiers import AddressText
from worker.net.plan.kernel import (
    LOCAL_TABLE,
    MAIN_TABLE,
    Address,
    Bridge,
    Forwarding,
    HardwareAddress,
    Item,
    Neighbour,
    Route,
    Tunnel,
)
from worker.net.plan.names import BRIDGE_MAC, BRIDGE_PREFIX, PROTOCOL, TUNNEL

PATIENCE_SECONDS = 10.0
# Numbers of linux/if.h, linux/if_addr.h, linux/neighbour.h and linux/rtnetlink.h.
_UP = 1
_NO_DAD = 0x02
_PERMANENT = 0x80
_SELF = 0x02
_ONLINK = 0x04
_LOCAL = 2
_UNICAST = 1
_SCOPE_HOST = 254
_INET, _INET6 = 2, 10
_FAMILIES = (_INET, _INET6)
_BY_ROUTERS = 9
_HAIRPIN_ON = 1

# What EEXIST and EADDRINUSE mean here, for whoever looks at a task.
PORT_TAKEN = (
    "another VXLAN link of this host uses UDP port {}; its engine may be a node of a Docker Swarm, too: leave that "
    "swarm, or make the cluster with 'swarm-manager init --data-path-port'"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel has.

    links: name → index; `down`: the names of those that are down; `ports`: a bridge's port → the bridge's index.
    ranges: what is reached by routes of others, and by which link; `advertised`: links that routers advertise a way on.
    addresses: address → the MTU of its link.
    """

    links: dict[str, int] = field(default_factory=dict)
    down: frozenset[str] = frozenset()
    ports: dict[int, int] = field(default_factory=dict)
    tunnel: Tunnel | None = None
    items: frozenset[Item] = frozenset()
    ranges: tuple[tuple[IPv4Network | IPv6Network, str], ...] = ()
    advertised: frozenset[str] = frozenset()
    addresses: dict[str, int] = field(default_factory=dict)


class Kernel:
    """The kernel's network configuration. Use as an async context manager.

    One call at a time: the kernel refuses a second listing on a socket that has not been read to the end.
    """

    def __init__(self) -> None:
        self._route = AsyncIPRoute()
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._route.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._route.__aexit__(kind, error, trace)

    async def look(self) -> Seen:
        """Read everything.

        Raises:
            Unavailable: the kernel refuses to say, or has not said all in time.

        """
        try:
            async with self._lock, asyncio.timeout(PATIENCE_SECONDS):
                return await self._look()
        except TimeoutError as error:
            why = f"it takes longer than {PATIENCE_SECONDS:.0f} s: is this host overloaded?"
            raise Unavailable(f"cannot read the host's network configuration: {why}") from error
        except (NetlinkError, OSError) as error:
            raise Unavailable(f"cannot read the host's network configuration: {error}") from error

    async def apply(self, tunnel: Tunnel | None, items: Collection[Item], seen: Seen) -> tuple[str, ...]:
        """Make the kernel have exactly these of our things; return what was done, in words.

        Raises:
            Unavailable: some could not be set (a link is not there yet, say); all others are.

        """
        done: list[str] = []
        failures: list[str] = []
        if tunnel != seen.tunnel:
            async with self._lock:
                await _attempt(self._replace_tunnel(tunnel, seen), "the tunnel between hosts", done, failures)
            seen = await self.look()
        async with self._lock:
            await self._change(items, seen, done, failures)
        if failures:
            raise Unavailable(f"{len(failures)} parts of the overlay cannot be set, the first: {failures[0]}")
        return tuple(done)

    async def _change(self, items: Collection[Item], seen: Seen, done: list[str], failures: list[str]) -> None:
        links = seen.links
        for item in _to_remove(seen.items, items):
            await _attempt(self._remove(item, links), f"remove {item}", done, failures)
        for item in sorted(set(items) - seen.items, key=_order):
            await _attempt(self._add(item, links), f"add {item}", done, failures)

    async def hairpin(self, port: int) -> None:
        """Let a bridge send a frame back through the port that it came from: a container's way to itself."""
        try:
            async with self._lock, asyncio.timeout(PATIENCE_SECONDS):
                await self._route.brport("set", index=port, mode=_HAIRPIN_ON)
        except (NetlinkError, OSError) as error:
            _log.debug("link %d is already gone: %s", port, error)

    async def attach(self, bridge: str, ports: Collection[int]) -> None:
        """Make links ports of a bridge, which lets their containers reach themselves.

        Raises:
            Unavailable: the kernel refuses.

        """
        try:
            async with self._lock, asyncio.timeout(PATIENCE_SECONDS):
                (index,) = await self._route.link_lookup(ifname=bridge)
                await self._attach(index, ports)
        except (NetlinkError, OSError, ValueError) as error:
            raise Unavailable(f"cannot give bridge {bridge} its ports back: {error}") from error

    async def raise_bridge(self, bridge: Bridge, seen: Seen, ports: Collection[int]) -> str:
        """Set a bridge up, with its address and MTU, or make it anew with its ports; return what was wrong.

        Docker does so only when it starts.

        Raises:
            Unavailable: the kernel refuses.

        """
        missing = bridge.name not in seen.links
        try:
            async with self._lock, asyncio.timeout(PATIENCE_SECONDS):
                if missing:
                    await self._make_bridge(bridge, ports)
                (index,) = await self._route.link_lookup(ifname=bridge.name)
                await self._route.addr("replace", index=index, address=bridge.address, prefixlen=bridge.prefix)
                await self._route.link("set", index=index, mtu=bridge.mtu, state="up")
        except (NetlinkError, OSError, ValueError) as error:
            raise Unavailable(f"cannot make bridge {bridge.name} anew: {error}") from error
        return f"bridge {bridge.name} was {_wrong(bridge, seen)}"

    async def remove_bridges(self, prefix: str) -> None:
        """Remove the bridges that were made anew here and that Docker therefore leaves behind."""
        seen = await self.look()
        async with self._lock:
            for name, index in seen.links.items():
                if name.startswith(prefix):
                    await _attempt(self._route.link("del", index=index), name, [], [])

    async def remove_bridge(self, name: str) -> None:
        """Remove one bridge, if it is there."""
        async with self._lock:
            for index in await self._route.link_lookup(ifname=name):
                await _attempt(self._route.link("del", index=index), name, [], [])

    async def _make_bridge(self, bridge: Bridge, ports: Collection[int]) -> None:
        await self._route.link("add", ifname=bridge.name, kind="bridge", mtu=bridge.mtu)
        (index,) = await self._route.link_lookup(ifname=bridge.name)
        await self._attach(index, ports)

    async def _attach(self, bridge: int, ports: Collection[int]) -> None:
        for port in ports:
            await self._route.link("set", index=port, master=bridge)
            await self._route.brport("set", index=port, mode=_HAIRPIN_ON)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _look(self) -> Seen:
        links: dict[str, int] = {}
        mtus: dict[int, int] = {}
        ports: dict[int, int] = {}
        down: set[str] = set()
        items: set[Item] = set()
        tunnel = None
        async for link in _each(self._route.get_links()):
            links[link.get("ifname")] = link["index"]
            if link.get("master"):
                ports[link["index"]] = link.get("master")
            if not link["flags"] & _UP:
                down.add(link.get("ifname"))
            mtus[link["index"]] = link.get("mtu")
            if link.get("address") == BRIDGE_MAC and link.get("ifname").startswith(BRIDGE_PREFIX):
                items.add(HardwareAddress(link.get("ifname"), BRIDGE_MAC))
            if link.get("ifname") == TUNNEL:
                tunnel = _read_tunnel(link)
        names = {index: name for name, index in links.items()}
        if TUNNEL in links:
            items |= {item async for item in self._tunnel_items(links[TUNNEL])}
        addresses: dict[str, int] = {}
        async for entry in _each(self._route.get_addr()):
            if entry["family"] in _FAMILIES:
                address, link = _read_address(entry, names)
                addresses[address] = mtus.get(entry["index"], 0)
                items |= {link} if link is not None else set()
        advertised: set[str] = set()
        ranges = [each async for each in self._routes(names, items, advertised)]
        return Seen(
            links, frozenset(down), ports, tunnel, frozenset(items), tuple(ranges), frozenset(advertised), addresses
        )

    async def _routes(
        self, names: dict[int, str], items: set[Item], advertised: set[str]
    ) -> AsyncIterator[tuple[IPv4Network | IPv6Network, str]]:
        """Add our routes to `items`, and yield what others' routes reach, and by which link."""
        for family in _FAMILIES:
            async for route in _each(self._route.get_routes(family=family)):
                link = names.get(route.get("oif"), "")
                if route["proto"] == PROTOCOL:
                    items.add(_read_route(route, names))
                elif route["dst_len"] and route.get("table") == MAIN_TABLE and route["type"] == _UNICAST:
                    yield _read_range(route), link
                if route["proto"] == _BY_ROUTERS:
                    advertised.add(link)

    async def _tunnel_items(self, index: int) -> AsyncIterator[Item]:
        for family in _FAMILIES:
            async for entry in _each(self._route.get_neighbours(family=family, ifindex=index)):
                if entry["state"] & _PERMANENT:
                    yield Neighbour(TUNNEL, AddressText(entry.get("dst")), AddressText(entry.get("lladdr")))
        async for entry in _each(self._route.fdb("dump", ifindex=index)):
            if entry.get("dst"):
                yield Forwarding(TUNNEL, AddressText(entry.get("lladdr")), AddressText(entry.get("dst")))

    # --- changing -----------------------------------------------------------------------------------------------------

    async def _replace_tunnel(self, tunnel: Tunnel | None, seen: Seen) -> None:
        if TUNNEL in seen.links:
            await self._route.link("del", index=seen.links[TUNNEL])
        if tunnel is None:
            return
        try:
            await self._route.link(
                "add",
                ifname=tunnel.name,
                kind="vxlan",
                address=tunnel.mac,
                mtu=tunnel.mtu,
                vxlan_id=tunnel.vni,
                vxlan_port=tunnel.port,
                vxlan_local=tunnel.local,
                vxlan_learning=0,
            )
        except NetlinkError as error:
            if error.code not in (errno.EEXIST, errno.EADDRINUSE):
                raise
            raise OSError(error.code, PORT_TAKEN.format(tunnel.port)) from error
        (index,) = await self._route.link_lookup(ifname=tunnel.name)
        await self._route.link("set", index=index, state="up")

    async def _add(self, item: Item, links: dict[str, int]) -> None:
        match item:
            case HardwareAddress():
                await self._route.link("set", index=links[item.link], address=item.mac)
            case Address():
                await self._add_address(links[item.link], *item.address.split("/"))
            case Neighbour():
                await self._route.neigh(
                    "replace", ifindex=links[item.link], dst=item.address, lladdr=item.mac, state=_PERMANENT
                )
            case Forwarding():
                await self._route.fdb("append", **_forwarding(item, links))
            case Route():
                await self._route.route("replace", **_route(item, links))

    async def _add_address(self, index: int, address: str, length: str) -> None:
        where = {"index": index, "address": address, "prefixlen": int(length)}
        if ":" not in address:
            await self._route.addr("replace", **where)
            return
        # Docker's own is tentative while the bridge has no port, and for a second after that.
        with suppress(NetlinkError):
            await self._route.addr("del", **where)
        await self._route.addr("add", **where, flags=_NO_DAD)

    async def _remove(self, item: Item, links: dict[str, int]) -> None:
        match item:
            case Address():
                address, _, length = item.address.partition("/")
                await self._route.addr("del", index=links[item.link], address=address, prefixlen=int(length))
            case Neighbour():
                await self._route.neigh("del", ifindex=links[item.link], dst=item.address)
            case Forwarding():
                await self._route.fdb("del", **_forwarding(item, links))
            case Route():
                await self._route.route("del", **_route(item, links))


def _wrong(bridge: Bridge, seen: Seen) -> str:
    if bridge.name not in seen.links:
        return "missing"
    if bridge.name in seen.down:
        return "down"
    mtu = seen.addresses.get(bridge.address)
    return "without its address" if mtu is None else f"set to an MTU of {mtu} in place of {bridge.mtu}"


async def _each(call: Any) -> AsyncIterator[Any]:
    async for message in await call:
        yield message


async def _attempt(work: Awaitable[None], what: str, done: list[str], failures: list[str]) -> None:
    try:
        await work
    except (NetlinkError, OSError, KeyError) as error:
        failures.append(f"{what}: {error}")
    else:
        done.append(what)


def _to_remove(there: Collection[Item], wanted: Collection[Item]) -> Iterable[Item]:
    """Yield what is to go. What is only to change is replaced in place, so that no packet finds nothing.

    A hardware address goes with its bridge.
    """
    places = {_place(item) for item in wanted}
    unwanted = [item for item in set(there) - set(wanted) if not isinstance(item, HardwareAddress)]
    return [item for item in unwanted if _place(item) not in places]


def _place(item: Item) -> object:
    """Return what identifies an item's place: of two items in one place the second replaces the first."""
    match item:
        case Neighbour():
            return (Neighbour, item.link, item.address)
        case Route():
            return (Route, item.destination, item.table)
        case _:
            return item


def _order(item: Item) -> int:
    """Addresses before the routes that name them as their source."""
    return (HardwareAddress, Address, Neighbour, Forwarding, Route).index(type(item))


def _forwarding(item: Forwarding, links: dict[str, int]) -> dict[str, Any]:
    return {
        "ifindex": links[item.link],
        "lladdr": item.mac,
        "dst": item.host,
        "state": _PERMANENT,
        "flags": _SELF,
    }


def _route(item: Route, links: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dst": item.destination,
        "oif": links[item.link],
        "table": item.table,
        "proto": PROTOCOL,
        "family": _INET6 if ":" in item.destination else _INET,
    }
    if item.source:
        found["prefsrc"] = item.source
    if item.gateway:
        return {**found, "gateway": item.gateway, "flags": _ONLINK}
    return {**found, "type": _LOCAL, "scope": _SCOPE_HOST}


# --- what the kernel says, as values of the plan ---


def _read_tunnel(link: Any) -> Tunnel | None:
    info = link.get("linkinfo")
    data = info.get("data") if info is not None else None
    if data is None or info.get("kind") != "vxlan" or not link["flags"] & _UP:
        return None
    return Tunnel(
        name=TUNNEL,
        mac=AddressText(link.get("address")),
        vni=data.get("vxlan_id"),
        port=data.get("vxlan_port"),
        local=data.get("vxlan_local") or "",
        mtu=link.get("mtu"),
    )


def _read_address(entry: Any, names: Mapping[int, str]) -> tuple[str, Item | None]:
    """Return an address, and the item that it is: ours are all of the tunnel's, and a bridge's that we made good."""
    address = entry.get("local") or entry.get("address")
    link = names.get(entry["index"], "")
    made_good = link.startswith(BRIDGE_PREFIX) and entry["family"] == _INET6 and bool(entry.get("flags") & _NO_DAD)
    if ip_address(address).is_link_local or not (link == TUNNEL or made_good):
        return address, None
    return address, Address(link, AddressText(f"{address}/{entry['prefixlen']}"))


def _read_range(route: Any) -> IPv4Network | IPv6Network:
    if route["family"] == _INET6:
        return IPv6Network(f"{route.get('dst') or '::'}/{route['dst_len']}")
    return IPv4Network(f"{route.get('dst') or '0.0.0.0'}/{route['dst_len']}")  # noqa: S104 - a route's destination


def _read_route(route: Any, names: Mapping[int, str]) -> Route:
    gateway, source = route.get("gateway"), route.get("prefsrc")
    return Route(
        destination=AddressText(str(_read_range(route))),
        link=names.get(route.get("oif"), ""),
        gateway=AddressText(gateway) if gateway else None,
        source=AddressText(source) if source else None,
        table=route.get("table") or LOCAL_TABLE,
    )
