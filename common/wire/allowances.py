"""What a worker may say to a manager in a session: which kinds of message, how large, and how much in a time.

Managers hold workers to it (`manager/dispatch/quota.py`). Workers keep to half of it (`worker/link/conversation.py`),
so that one that works as it should never meets the limits, even if all that it said in some seconds arrives at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec

from common.aio.rate_limit import Rate
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
