"""Cut connections that go to nobody any more, so that their clients hear of it at once instead of waiting."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import product

from worker import command
from worker.net.challenge import challenge, redirected
from worker.net.plan import Purge

# What conntrack returns when there was nothing to delete.
_NOTHING_FOUND = 1
# Each deletion is a process that reads the whole table. Of more addresses than this, as when a node is lost, it is
# looked up first to which of them anything leads.
FEW = 4
_FAMILIES = ("ipv4", "ipv6")

# The second sender of a line is who answers: where the connection was led.
_LED_TO = re.compile(r"^.*? src=.*? src=(\S+) ", re.MULTILINE)

_log = logging.getLogger(__name__)


async def cut(purge: Purge) -> None:
    """Delete the kernel's records of connections to these backends, and of what was sent to these UDP ports.

    The next packet of such a connection is then balanced anew, and whoever gets it refuses it: its client is reset. A
    client that sends none is made to.
    """
    few = len(purge.backends) <= FEW
    await _cut(purge.backends if few else await _led_to(purge.backends))
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
            _log.info("cutting connections to %d addresses that are in use no more", len(gone))
            await _cut(gone)


def forgotten(listing: str, ranges: Collection[IPv4Network | IPv6Network], known: Collection[str]) -> tuple[str, ...]:
    """Read conntrack's list of redirected connections; return where in `ranges` some lead, `known` addresses aside."""
    led_to = set(_LED_TO.findall(listing)) - set(known)
    return tuple(sorted(each for each in led_to if any(ip_address(each) in part for part in ranges)))


async def _led_to(addresses: Collection[str]) -> Collection[str]:
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
        challenge(redirected(listing))
    except OSError as error:
        _log.warning("clients whose connections were cut may not hear of it until they send: %s", error)


async def _delete(*which: str) -> str:
    """Delete some, and return the list of them."""
    output = await command.run("conntrack", "-D", *which)
    if output.code not in (0, _NOTHING_FOUND):
        _log.warning("conntrack cannot delete %s: %s", " ".join(which), output.errors)
    return output.text
