"""Hear of what others change in the host's network: rules, links, addresses, routes.

Each watcher says what happened in a sentence; who listens looks at the whole and repairs it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
)

from worker.net.dockeruser import CHAIN
from worker.net.names import BRIDGE_PREFIX, PROTOCOL, TABLE, TUNNEL, WIREGUARD_PREFIX

_NETFILTER = 12
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_GROUP_NFTABLES = 7
_RECEIVE_BUFFER = 16 << 20
_SO_RCVBUFFORCE = 33
_BATCH = 1 << 18
_NFTABLES_SUBSYSTEM = 10
_NEWGEN = 15
# NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE: what can make our rules in Docker's chain be lost.
_STRUCTURE = frozenset({0, 2, 3, 5, 6, 8})
_RULES = frozenset({6, 8})
_NAME_ATTRIBUTE, _CHAIN_ATTRIBUTE = 1, 2
_CHAIN_NAME_ATTRIBUTE = 3
_UP = 1
_GROUPS = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV4_RULE
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV6_RULE
)
_LINK_SCOPE = 253
_PAUSE_SECONDS = 0.1
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_FAMILY_HEADER = 4

_log = logging.getLogger(__name__)


class RuleWatch:
    """Listens to the kernel's nftables changes.

    `ours(process)` tells whether a process of that id is one of this worker's own. `table_changed` hears that somebody
    else touched our table, `docker_changed` that DOCKER-USER may have lost our rules.
    """

    def __init__(
        self, ours: Callable[[int], bool], table_changed: Callable[[], None], docker_changed: Callable[[], None]
    ) -> None:
        self._ours = ours
        self._table_changed = table_changed
        self._docker_changed = docker_changed

    async def run(self) -> None:
        """Listen until cancelled."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETFILTER) as events:
            # A large change has an event for each of its elements, all at once.
            events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            events.bind((0, 0))
            events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
            readable = asyncio.Event()
            loop.add_reader(events, readable.set)
            try:
                while True:
                    await readable.wait()
                    readable.clear()
                    self._read_all(events)
            finally:
                loop.remove_reader(events)

    def _read_all(self, events: socket.socket) -> None:
        table = docker = False
        while True:
            try:
                data = events.recv(_BATCH)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # Ours are the only changes that come in such masses, so lost events are no sign of another's.
                _log.debug("lost some of the kernel's nftables events")
                continue
            for kind, process, names in _messages(data):
                if self._ours(process):
                    continue
                table = table or names[0] == TABLE
                docker = docker or (kind in _STRUCTURE and names[0] == "filter" and names[1] in ("", CHAIN))
        if table:
            self._table_changed()
        if docker:
            self._docker_changed()


def _messages(data: bytes) -> Iterator[tuple[int, int, tuple[str, str]]]:
    """Yield each message's kind, the process that caused it, and the table and chain that it names."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, _, _, process = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        if kind >> 8 == _NFTABLES_SUBSYSTEM and kind & 255 != _NEWGEN:
            body = memoryview(data)[position + _HEADER.size + _FAMILY_HEADER : position + length]
            yield kind & 255, process, _names(kind & 255, body)
        position += (length + 3) & ~3


def _names(kind: int, body: memoryview) -> tuple[str, str]:
    chain_attribute = _CHAIN_ATTRIBUTE if kind in _RULES else _CHAIN_NAME_ATTRIBUTE
    of_table = kind in (0, 2)
    table = chain = ""
    position = 0
    while position + _ATTRIBUTE.size <= len(body):
        length, attribute = _ATTRIBUTE.unpack_from(body, position)
        if length < _ATTRIBUTE.size:
            break
        value = bytes(body[position + _ATTRIBUTE.size : position + length])
        if attribute == _NAME_ATTRIBUTE:
            table = value.rstrip(b"\0").decode(errors="replace")
        elif attribute == chain_attribute and not of_table:
            chain = value.rstrip(b"\0").decode(errors="replace")
        position += (length + 3) & ~3
    return table, chain


class LinkWatch:
    """Listens to changes of links, addresses, routes and rules.

    `port_added(index, bridge)` hears of a link that became a bridge's port; `changed(what)` of anything that may
    concern the plan, in words.
    """

    def __init__(self, port_added: Callable[[int, int], Awaitable[None]], changed: Callable[[str], None]) -> None:
        self._port_added = port_added
        self._changed = changed
        self._known: set[int] = set()
        self._ports: dict[int, int] = {}

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (NetlinkError, OSError) as error:
                # More happened than fits into the socket's buffer: anything may have.
                _log.info("the kernel's routing events were lost for a moment: %s", error)
                self._known.clear()
                self._ports.clear()
                self._changed("events were lost, links may have been deleted")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with AsyncIPRoute() as events:
            await events.bind(_GROUPS)
            while True:
                async for message in events.get():
                    await self._take(message)

    async def _take(self, message: Any) -> None:
        match message.get("event"):
            case "RTM_NEWLINK":
                if message.get("master"):
                    await self._take_port(message["index"], message.get("master"))
                elif _is_ours(message.get("ifname")):
                    self._take_link(message)
            case "RTM_DELLINK":
                self._ports.pop(message["index"], None)
                if _is_ours(message.get("ifname")) and not message.get("master"):
                    self._known.discard(message["index"])
                    self._changed(f"link {message.get('ifname')} was deleted")
            case "RTM_DELROUTE" if message["proto"] == PROTOCOL:
                self._changed("a route was deleted")
            case "RTM_DELRULE" if message.get("protocol") == PROTOCOL:
                self._changed("a routing rule was deleted")
            case "RTM_NEWADDR" | "RTM_DELADDR" if message["scope"] != _LINK_SCOPE:  # which every container's link has
                self._changed("the host's addresses changed")

    async def _take_port(self, port: int, bridge: int) -> None:
        """Pass on a port once: setting it up makes the kernel tell of it again. A bridge is told of as its own port."""
        if port != bridge and self._ports.get(port) != bridge:
            self._ports[port] = bridge
            await self._port_added(port, bridge)

    def _take_link(self, message: Any) -> None:
        """Pass over what is told of a bridge whenever a port comes or goes: a new one, or one that is down, matters."""
        if message["index"] not in self._known:
            self._known.add(message["index"])
            self._changed(f"link {message.get('ifname')} is new")
        elif not message["flags"] & _UP:
            self._changed(f"link {message.get('ifname')} is down")


def _is_ours(name: str | None) -> bool:
    return bool(name) and (name == TUNNEL or str(name).startswith((BRIDGE_PREFIX, WIREGUARD_PREFIX)))
