"""Which connections are let in before anybody knows whose they are: a TLS handshake costs more than what it may bring.

An address may have so many handshakes at once, others of it wait; and few connections that come to nothing. Those that
were asked for, or become sessions, are not counted: many hosts may have one address.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec

from common.aio.rate_limit import Rate, RateLimit
from common.wire.image_messages import Brought, FetchImage, ImageHeld, ImageSeen, SpareImages
from common.wire.membership_messages import Applied, AwaitApplied, Goodbye
from common.wire.message import Message
from common.wire.messages import (
    AttachmentReport,
    CertificateStored,
    Heartbeat,
    Leave,
    NodeReport,
    RenewRequest,
    Resync,
    StatusReport,
)
from common.wire.usage_messages import HostUsage, Usage
from common.wire.volume_copy import VolumeReport

HANDSHAKES_OF_ADDRESS = 64
# Connections that are accepted and not yet made, in all and of one address.
MOST = 4096
MOST_OF_ADDRESS = 1024
VAIN = Rate(burst=20, per_second=5)
_HOST_BITS = 64


class Admission:
    """Counts the connections of a listener by the addresses that they come from. Times are the loop's."""

    def __init__(self) -> None:
        self._coming: Counter[str] = Counter()
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._vain = RateLimit(VAIN)

    def lets_in(self, address: str, now: float) -> bool:
        """Whether a connection from this address may begin its handshake, at once or later."""
        source = source_of(address)
        few = self._coming.total() < MOST and self._coming[source] < MOST_OF_ADDRESS
        return few and self._vain.left(source, now) > 0

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

    def in_vain(self, address: str, now: float) -> None:
        """Hear that a connection came to nothing."""
        self._vain.spend(source_of(address), 1.0, now)


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


# What a worker may say to a manager in a session: which kinds of message, how large, and how much in a time.
#
# Managers hold workers to it (`manager/dispatch/quota.py`); workers keep to half of it by themselves
# (`worker/link/pace.py`), so that one that is well never meets the limits, though all that it said in some seconds
# arrives at once.


# Bytes of a session, and messages, as `weight` counts them: in a burst, and each second.
BYTES = Rate(burst=1 << 20, per_second=256 * 1024)
MESSAGES = Rate(burst=2000, per_second=500)

_SMALL = 256
_LARGE = 64 * 1024
# So many bytes of entries fit into a large frame beside all else that is in it.
ENTRIES_BYTES = _LARGE - 1024

# Characters of what a worker says to people, and of why something failed.
LONGEST_MESSAGE = 1000
LONGEST_ERROR = 4000

T = TypeVar("T")


class Allowance(NamedTuple):
    """How large a frame of a kind may be, in bytes, and as how many messages it counts, by what it makes a manager do.

    `each`: as how many each entry of its list `entries` counts.
    """

    size: int
    messages: float = 1.0
    entries: str = ""
    each: float = 0.0


ALLOWANCES: Mapping[type[Message], Allowance] = MappingProxyType(
    {
        Heartbeat: Allowance(_SMALL),
        StatusReport: Allowance(_LARGE, 1, "tasks", 1),
        NodeReport: Allowance(_LARGE, 20),
        AttachmentReport: Allowance(_LARGE, 1, "attachments", 1),
        Usage: Allowance(_LARGE, 1, "tasks", 0.2),
        HostUsage: Allowance(1024),
        CertificateStored: Allowance(_SMALL, 20),
        VolumeReport: Allowance(_LARGE, 1, "volumes", 0.5),
        RenewRequest: Allowance(16 * 1024, 1000),  # a signature, and a write
        Resync: Allowance(_SMALL, 1000),  # all that the node has is sent again
        Applied: Allowance(_SMALL),
        AwaitApplied: Allowance(_SMALL, 20),
        FetchImage: Allowance(_LARGE, 100, "failed", 1),  # other nodes are asked, and told
        ImageHeld: Allowance(_SMALL, 5),
        ImageSeen: Allowance(_LARGE),
        Brought: Allowance(_LARGE),
        SpareImages: Allowance(_LARGE, 500, "image_ids", 0.2),  # all services and tasks are looked at
        Leave: Allowance(_SMALL),
        Goodbye: Allowance(_SMALL),
    }
)

# For `Channel.expect`.
SIZES: Mapping[int, int] = MappingProxyType({kind.KIND: allowed.size for kind, allowed in ALLOWANCES.items()})


def weight(message: Message) -> float:
    """Return as how many messages one of `ALLOWANCES` counts."""
    allowed = ALLOWANCES[type(message)]
    count = len(getattr(message, allowed.entries)) if allowed.entries else 0
    return allowed.messages + count * allowed.each


def size_of(value: object) -> int:
    """Return how many bytes of a frame a value takes."""
    return len(msgspec.msgpack.encode(value))


def fitting(entries: Iterable[T], size: int = ENTRIES_BYTES) -> tuple[T, ...]:
    """Take as many entries, from the front, as `size` bytes of a frame have room for."""
    taken: list[T] = []
    for entry in entries:
        size -= size_of(entry)
        if size < 0:
            break
        taken.append(entry)
    return tuple(taken)
