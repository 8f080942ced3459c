"""What the kernel says of links, addresses and routes, asked for over a netlink socket, as the plan's own values.

Numbers are those of linux/netlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from worker.intake.words import AddressText
from worker.net.plan.kernel import LOCAL_TABLE, Address, Item, Route, Tunnel
from worker.net.plan.names import BRIDGE_PREFIX, TUNNEL
from worker.net.watch.netlink_events import messages

INET6 = 10
UP = 1
NO_DAD = 0x02

_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_READ = 1 << 16


def read_tunnel(link: Any) -> Tunnel | None:
    info = link.get("linkinfo")
    data = info.get("data") if info is not None else None
    if data is None or info.get("kind") != "vxlan" or not link["flags"] & UP:
        return None
    return Tunnel(
        name=TUNNEL,
        mac=AddressText(link.get("address")),
        vni=data.get("vxlan_id"),
        port=data.get("vxlan_port"),
        local=data.get("vxlan_local") or "",
        mtu=link.get("mtu"),
    )


def read_address(entry: Any, names: Mapping[int, str]) -> tuple[str, Item | None]:
    """Return an address, and the item that it is: ours are all of the tunnel's, and a bridge's that we made good."""
    address = entry.get("local") or entry.get("address")
    link = names.get(entry["index"], "")
    made_good = link.startswith(BRIDGE_PREFIX) and entry["family"] == INET6 and bool(entry.get("flags") & NO_DAD)
    if ip_address(address).is_link_local or not (link == TUNNEL or made_good):
        return address, None
    return address, Address(link, AddressText(f"{address}/{entry['prefixlen']}"))


def read_range(route: Any) -> IPv4Network | IPv6Network:
    if route["family"] == INET6:
        return IPv6Network(f"{route.get('dst') or '::'}/{route['dst_len']}")
    return IPv4Network(f"{route.get('dst') or '0.0.0.0'}/{route['dst_len']}")  # noqa: S104 - a route's destination


def read_route(route: Any, names: Mapping[int, str]) -> Route:
    gateway, source = route.get("gateway"), route.get("prefsrc")
    return Route(
        destination=AddressText(str(read_range(route))),
        link=names.get(route.get("oif"), ""),
        gateway=AddressText(gateway) if gateway else None,
        source=AddressText(source) if source else None,
        table=route.get("table") or LOCAL_TABLE,
    )


# --- asking ---


def dump(kernel: socket.socket, kind: int, question: bytes) -> Iterator[memoryview]:
    """Yield what follows the header of each message in the answer, which the kernel begins within the call that asks.

    Raises:
        OSError: it refuses.

    """
    kernel.send(_HEADER.pack(_HEADER.size + len(question), kind, _REQUEST | _DUMP, 0, 0) + question)
    while True:
        for message in messages(kernel.recv(_READ)):
            if message.kind == _DONE:
                return
            if message.kind == _ERROR:
                (code,) = struct.unpack_from("=i", message.body)
                raise OSError(-code, os.strerror(-code))
            yield message.body
