"""Watch what others change in the host's network: rules, links, addresses, routes.

Each watcher says in a sentence what happened; its listener then looks at the whole, and repairs it. Numbers of messages
and attributes are those of linux/netfilter/nf_tables.h, linux/rtnetlink.h and linux/if_link.h.
"""

from __future__ import annotations

import enum
import logging
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from worker.net.apply.docker_user import CHAIN
from worker.net.plan.names import BRIDGE_PREFIX, PROTOCOL, SERVICES_TABLE, TABLE, TUNNEL, WIREGUARD_PREFIX
from worker.net.watch.netlink_bytes import NETFILTER, Message, attributes, listening, number, select_attributes, text

_GROUP_NFTABLES = 7
_NFTABLES_SUBSYSTEM = 10
_NEWGEN = 15
# NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE: what can make our rules in Docker's chain be lost.
_STRUCTURE = frozenset({0, 2, 3, 5, 6, 8})
_DELRULE = 8
_TABLES = frozenset({0, 2})
_RULES = frozenset({6, 8})
_NAME, _CHAIN_OF_RULE, _CHAIN_NAME = 1, 2, 3
_NFTABLES_FIXED = 4

_ROUTE = 0
# RTNLGRP_: LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE.
_ROUTE_GROUPS = (1, 5, 7, 9, 11)
_LINK_FIXED = struct.Struct("=B3xiI4x")
# What a bridge tells of its port has this family and, as an attribute within an attribute, whether it reflects.
_BRIDGE_FAMILY = 7
_IFNAME, _MTU, _MASTER, _PORT = 3, 4, 10, 12
_OF_A_LINK = frozenset({_IFNAME, _MTU, _MASTER, _PORT})
_HAIRPIN_MODE = 4
_OF_A_PORT = frozenset({_HAIRPIN_MODE})
_UP = 1
_ADDRESS_SCOPE, _ROUTE_PROTOCOL = 3, 5
_LINK_SCOPE = 253


class _Event(enum.IntEnum):
    NEWLINK = 16
    DELLINK = 17
    NEWADDR = 20
    DELADDR = 21
    DELROUTE = 25


_log = logging.getLogger(__name__)


class RuleWatch:
    """Listens to the kernel's nftables changes.

    `ours(process)` tells whether a change by that process is this worker's own. `table_changed` hears that somebody
    else touched one of our tables, `docker_changed` that DOCKER-USER may have lost our rules, or the way to it.
    `itself`: what the kernel calls this process, whose changes make most of the events.
    """

    def __init__(
        self,
        ours: Callable[[int], bool],
        table_changed: Callable[[], None],
        docker_changed: Callable[[], None],
        itself: int,
    ) -> None:
        self._itself = itself
        self._ours = ours
        self._table_changed = table_changed
        self._docker_changed = docker_changed

    async def run(self) -> None:
        """Listen until cancelled."""
        with listening(NETFILTER, (_GROUP_NFTABLES,)) as listener:
            listener.ignore(self._itself)
            while True:
                self.take(*await listener.batch())

    def take(self, batch: list[Message], lost: bool = False) -> None:
        """Tell of what others changed; a batch is one change. What was lost may have been anything of theirs."""
        table = docker = lost
        for message in batch:
            kind = message.kind & 255
            if message.kind >> 8 != _NFTABLES_SUBSYSTEM or kind == _NEWGEN or self._ours(message.process):
                continue
            name, chain = _names(kind, message.body)
            table = table or name in (TABLE, SERVICES_TABLE)
            docker = docker or (name == "filter" and _concerns_docker(kind, chain))
        if table:
            self._table_changed()
        if docker:
            self._docker_changed()


def _concerns_docker(kind: int, chain: str) -> bool:
    """Whether our rules in Docker's chain, or the way to it, may be gone: `chain` is empty for a whole table."""
    return (kind in _STRUCTURE and chain in ("", CHAIN)) or (kind == _DELRULE and chain == "FORWARD")


def _names(kind: int, body: memoryview) -> tuple[str, str]:
    """Return the table and the chain that a message names."""
    found = dict(attributes(body, _NFTABLES_FIXED))
    chain = b"" if kind in _TABLES else found.get(_CHAIN_OF_RULE if kind in _RULES else _CHAIN_NAME, b"")
    return text(found.get(_NAME, b"")), text(chain)


@dataclass(frozen=True, slots=True)
class HostChange:
    """A change of the host's network, in words for its log; `gone`: something that the worker made may not be there."""

    text: str
    gone: bool = False


class LinkWatch:
    """Listens to changes of links, addresses and routes.

    `port_added(index, bridge)` hears of a link that became a bridge's port, `hairpin_lost(index)` of one to which the
    bridge sent back what came from it, and does not any more; `changed` of anything that may concern the plan.
    """

    def __init__(
        self,
        port_added: Callable[[int, int], Awaitable[None]],
        hairpin_lost: Callable[[int], Awaitable[None]],
        changed: Callable[[HostChange], None],
    ) -> None:
        self._port_added = port_added
        self._hairpin_lost = hairpin_lost
        self._changed = changed
        self._mtus: dict[int, int] = {}  # of our links and the host's, by their index
        self._ports: dict[int, int] = {}
        self._reflecting: set[int] = set()

    async def run(self) -> None:
        """Listen until cancelled."""
        with listening(_ROUTE, _ROUTE_GROUPS) as listener:
            while True:
                batch, lost = await listener.batch()
                if lost:
                    _log.info("lost some of the kernel's routing events")
                    self._mtus.clear()
                    self._ports.clear()
                    self._reflecting.clear()
                    self._changed(HostChange("events were lost, links may have been deleted", gone=True))
                for message in batch:
                    await self.take(message)

    async def take(self, message: Message) -> None:
        """Tell of an event what may concern the plan."""
        body = message.body
        match message.kind:
            case _Event.NEWLINK | _Event.DELLINK:
                await self._take_link(message)
            case _Event.DELROUTE if body[_ROUTE_PROTOCOL] == PROTOCOL:
                self._changed(HostChange("a route was deleted", gone=True))
            case _Event.NEWADDR | _Event.DELADDR if body[_ADDRESS_SCOPE] != _LINK_SCOPE:  # every container's has one
                self._changed(HostChange("the host's addresses changed"))

    async def _take_link(self, message: Message) -> None:
        family, index, flags = _LINK_FIXED.unpack_from(message.body)
        found = select_attributes(message.body, _LINK_FIXED.size, _OF_A_LINK)
        name, bridge = text(found.get(_IFNAME, b"")), number(found.get(_MASTER, b""))
        if family == _BRIDGE_FAMILY and message.kind == _Event.DELLINK:
            return  # a port leaves its bridge: whether it goes for good is told next
        if message.kind == _Event.DELLINK:
            self._forget_port(index)
            self._mtus.pop(index, None)
            if _is_ours(name):
                self._changed(HostChange(f"link {name} was deleted", gone=True))
        elif bridge:
            await self._take_port(index, bridge)
            if family == _BRIDGE_FAMILY:
                await self._take_hairpin(index, found.get(_PORT))
        elif self._forget_port(index):
            self._changed(HostChange(f"link {name} was taken out of its bridge"))
        elif _is_ours(name):
            self._take_ours(index, name, flags, number(found.get(_MTU, b"")))
        elif not name.startswith(_OF_ENGINES):
            self._take_hosts(index, name, number(found.get(_MTU, b"")))

    def _take_ours(self, index: int, name: str, flags: int, mtu: int) -> None:
        before, self._mtus[index] = self._mtus.get(index), mtu
        if before is None:
            self._changed(HostChange(f"link {name} is new"))
        elif not flags & _UP:  # what else is told of a bridge, whenever a port comes or goes, does not matter
            self._changed(HostChange(f"link {name} is down"))
        elif before != mtu:
            self._changed(HostChange(f"link {name} has another MTU"))
        elif name == TUNNEL:
            self._changed(HostChange(f"link {name} may have another address"))

    def _take_hosts(self, index: int, name: str, mtu: int) -> None:
        """Tell of another MTU: the tunnel may go over that link. What it was before the first event nobody knows."""
        before, self._mtus[index] = self._mtus.get(index), mtu
        if before != mtu:
            self._changed(HostChange(f"link {name} has another MTU"))

    async def _take_port(self, port: int, bridge: int) -> None:
        """Pass on a port once: setting it up makes the kernel tell of it again. A bridge is told of as its own port."""
        if port != bridge and self._ports.get(port) != bridge:
            self._ports[port] = bridge
            await self._port_added(port, bridge)

    async def _take_hairpin(self, port: int, told: memoryview | None) -> None:
        mode = select_attributes(told, 0, _OF_A_PORT).get(_HAIRPIN_MODE) if told is not None else None
        if mode is None:
            return
        if number(mode):
            self._reflecting.add(port)
        elif port in self._reflecting:
            self._reflecting.discard(port)
            await self._hairpin_lost(port)

    def _forget_port(self, port: int) -> bool:
        """Return whether it was one."""
        self._reflecting.discard(port)
        return self._ports.pop(port, None) is not None


# Links that come and go with containers.
_OF_ENGINES = ("veth", "docker", "br-")


def _is_ours(name: str) -> bool:
    return name == TUNNEL or name.startswith((BRIDGE_PREFIX, WIREGUARD_PREFIX))
