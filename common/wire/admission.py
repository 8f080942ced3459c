"""Admission of connections before their peer is known: a TLS handshake costs too much to give one to everybody.

An address may have a limited number of handshakes at once, its others wait; and few failed connections: those that end
before they have come to anything. What becomes a session or was asked for is not counted, as many hosts may share one
address.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from ipaddress import IPv6Address, ip_address

from common.aio.rate_limit import Rate, RateLimit

HANDSHAKES_OF_ADDRESS = 64
# Connections that are accepted and whose handshake is not done, in all and of one address.
MOST = 4096
MOST_OF_ADDRESS = 1024
FAILED_OF_ADDRESS = Rate(burst=20, per_second=5)
_HOST_BITS = 64


class Admission:
    """Counts the connections of a listener by the addresses that they come from. Instants are the event loop's."""

    def __init__(self) -> None:
        self._coming: Counter[str] = Counter()
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._failed = RateLimit(FAILED_OF_ADDRESS)

    def lets_in(self, address: str, now: float) -> bool:
        """Whether a connection from this address may begin its handshake, at once or later."""
        source = source_of(address)
        few = self._coming.total() < MOST and self._coming[source] < MOST_OF_ADDRESS
        return few and self._failed.left(source, now) > 0

    @contextlib.asynccontextmanager
    async def handshake(self, address: str) -> AsyncIterator[None]:
        """Wait for this address's turn; the handshake is what is done within."""
        source = source_of(address)
        self._coming[source] += 1
        slots = self._slots.setdefault(source, asyncio.Semaphore(HANDSHAKES_OF_ADDRESS))
        try:
            async with slots:
                yield
        finally:
            self._coming[source] -= 1
            if not self._coming[source]:
                del self._coming[source], self._slots[source]

    def note_failed(self, address: str, now: float) -> None:
        """Count a connection that ended before it had come to anything."""
        self._failed.spend(source_of(address), 1.0, now)


def source_of(address: str) -> str:
    """Return what one host cannot have many of: an IPv4 address, or the network (/64) of an IPv6 address."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> _HOST_BITS << _HOST_BITS))
