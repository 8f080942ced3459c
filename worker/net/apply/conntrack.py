"""Cut connections to backends that are gone, so that their clients hear of it at once instead of waiting.

Clients that wait without sending hear of it, too. A reset counts only with the very sequence number that its receiver
waits for (RFC 5961, section 3), and nobody here knows it. But a SYN in an open connection is answered by an ACK that
has it, whatever number the SYN has (section 4). So the client is sent a SYN from the address that it is connected to;
its ACK takes the way of all that it sends now: it is balanced anew, and whoever gets it resets the connection. A client
that has closed the connection already answers nothing, or a reset.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import product

from worker.host import command
from worker.net.plan.host_plan import Purge
from worker.net.plan.names import CHALLENGE_MARK

# What conntrack returns when there was nothing to delete.
_NOTHING_FOUND = 1
# Each deletion is a process that reads the whole table. Of more addresses than this, as when a node is lost, it is
# looked up first to which of them anything leads.
FEW = 4
_FAMILIES = ("ipv4", "ipv6")

# The second sender of a line is who answers: where the connection was led.
_LED_TO = re.compile(r"^.*? src=.*? src=(\S+) ", re.MULTILINE)

_log = logging.getLogger(__name__)

# One line of conntrack's; the second sender is who answers. In other states the client is not there yet, or no more: a
# SYN that crosses its own would open a connection.
_REDIRECTED = re.compile(
    r"^tcp +6 +\d+ (?:ESTABLISHED|FIN_WAIT|CLOSE_WAIT) src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) .*?src=(?!\2 )",
    re.MULTILINE,
)
_TCP_HEADER = struct.Struct("!HHIIBBHHH")
_DATA_OFFSET = (_TCP_HEADER.size // 4) << 4
_SYN = 0x02
_HOPS = 64


async def cut(purge: Purge) -> None:
    """Delete the kernel's records of connections to these backends, and of what was sent to these UDP ports.

    The next packet of such a connection is then balanced anew, and whoever gets it refuses it: its client is reset. A
    client that sends none is made to.
    """
    few = len(purge.backends) <= FEW
    await _cut(purge.backends if few else await _targets_of(purge.backends))
    for port, family in product(purge.udp_ports, _FAMILIES):
        await _delete("-f", family, "-p", "udp", "--orig-port-dst", str(port))


async def cut_forgotten(ranges: Collection[IPv4Network | IPv6Network], known: Collection[str]) -> None:
    """Cut what was led to an address of `ranges` that is none of the `known` ones: nobody saw that one go.

    Raises:
        Unavailable: the kernel's records cannot be listed.

    """
    for family in _FAMILIES:
        listing = await command.must("conntrack", "-L", "--dst-nat", "-f", family)
        # A busy host has many records: the loop goes on meanwhile.
        gone = await asyncio.to_thread(forgotten, listing, ranges, known)
        if gone:
            _log.info("cutting connections to %d addresses that are no longer in use", len(gone))
            await _cut(gone)


def forgotten(listing: str, ranges: Collection[IPv4Network | IPv6Network], known: Collection[str]) -> tuple[str, ...]:
    """Read conntrack's list of redirected connections; return where in `ranges` some lead, `known` addresses aside."""
    led_to = set(_LED_TO.findall(listing)) - set(known)
    return tuple(sorted(each for each in led_to if any(ip_address(each) in part for part in ranges)))


async def _targets_of(addresses: Collection[str]) -> Collection[str]:
    """Return those of these addresses that connections lead to."""
    found: set[str] = set()
    for family in _FAMILIES:
        output = await command.run("conntrack", "-L", "-f", family)
        if output.code:
            _log.warning("conntrack cannot list connections: %s", output.errors)
            return addresses
        found.update(await asyncio.to_thread(_LED_TO.findall, output.text))
    return [each for each in addresses if each in found]


async def _cut(addresses: Collection[str]) -> None:
    for address in addresses:
        deleted = await _delete("--reply-src", address)
        # A busy host has many records: the loop goes on meanwhile.
        await asyncio.to_thread(_challenge, deleted)


def _challenge(listing: str) -> None:
    try:
        challenge(redirected_connections(listing))
    except OSError as error:
        _log.warning("clients may not notice that their connections were cut until they send: %s", error)


async def _delete(*arguments: str) -> str:
    """Delete matching records; return conntrack's list of them."""
    output = await command.run("conntrack", "-D", *arguments)
    if output.code not in (0, _NOTHING_FOUND):
        _log.warning("conntrack cannot delete %s: %s", " ".join(arguments), output.errors)
    return output.text


# --- challenges ---


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as its client sees it: (address, port) of both ends."""

    client: tuple[str, int]
    server: tuple[str, int]


def redirected_connections(listing: str) -> tuple[Connection, ...]:
    """Read conntrack's list; return the open TCP connections in it that this host has led to another address."""
    return tuple(
        Connection((client, int(port)), (server, int(service)))
        for client, server, port, service in _REDIRECTED.findall(listing)
    )


def challenge(connections: Collection[Connection]) -> None:
    """Send each client a SYN in its server's name. Blocks while the kernel's send buffer is full."""
    for family in (socket.AF_INET, socket.AF_INET6):
        here = [each for each in connections if (":" in each.client[0]) == (family == socket.AF_INET6)]
        if not here:
            continue
        # IPPROTO_RAW: packets come with their IP header, so the sender may be any address.
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            # The rules keep marked packets out of the kernel's table of connections, where a SYN would begin one.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CHALLENGE_MARK)
            for each in here:
                try:
                    raw.sendto(syn(each), (each.client[0], 0))
                except OSError as error:
                    _log.debug("client %s is not told that its connection was cut: %s", each.client[0], error)


def syn(connection: Connection) -> bytes:
    """Write the whole packet, IP header included."""
    sender, receiver = (ip_address(address).packed for address, _ in (connection.server, connection.client))
    ports = (connection.server[1], connection.client[1])
    rest = (0, 0, _DATA_OFFSET, _SYN, 0)
    pseudo_header = sender + receiver + struct.pack("!II", _TCP_HEADER.size, socket.IPPROTO_TCP)
    checksum = _checksum(pseudo_header + _TCP_HEADER.pack(*ports, *rest, 0, 0))
    return _ip_header(sender, receiver) + _TCP_HEADER.pack(*ports, *rest, checksum, 0)


def _ip_header(sender: bytes, receiver: bytes) -> bytes:
    """Write the header of a TCP packet without data; of IPv4, the kernel fills in length, number and checksum."""
    if len(sender) == 4:
        return struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, _HOPS, socket.IPPROTO_TCP, 0) + sender + receiver
    return struct.pack("!IHBB", 6 << 28, _TCP_HEADER.size, socket.IPPROTO_TCP, _HOPS) + sender + receiver


def _checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
