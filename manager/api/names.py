"""Which names objects may have, and a name for a service that was given none."""

from __future__ import annotations

import random
import re

from common.errors import InvalidArgument

_DNS_LABEL = re.compile(r"[a-zA-Z0-9](?:[-_a-zA-Z0-9]*[a-zA-Z0-9])?")
_FILE_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-_.]*[a-zA-Z0-9])?")
_MAX_DNS_LABEL = 63
_MAX_FILE_NAME = 64
_MOODS = ("brisk", "calm", "clever", "eager", "fair", "gentle", "keen", "lively", "merry", "nimble", "proud", "steady")
_BIRDS = (
    "avocet",
    "crane",
    "dunlin",
    "finch",
    "heron",
    "kestrel",
    "lapwing",
    "merlin",
    "plover",
    "swift",
    "tern",
    "wren",
)


def check_dns_name(name: str) -> None:
    """Refuse a service or network name that could not be looked up by DNS (swarmkit `controlapi/common.go`).

    Raises:
        InvalidArgument: in the engine's words.

    """
    if not name:
        raise InvalidArgument("name must be provided")
    if _DNS_LABEL.fullmatch(name) is None:
        raise InvalidArgument("name must be valid as a DNS name component")
    if len(name) > _MAX_DNS_LABEL:
        raise InvalidArgument("name must be 63 characters or fewer")


def check_file_name(name: str) -> None:
    """Refuse a name that a secret or config cannot have.

    Raises:
        InvalidArgument: in the engine's words.

    """
    if not name:
        raise InvalidArgument("name must be provided")
    if len(name) > _MAX_FILE_NAME or _FILE_NAME.fullmatch(name) is None:
        allowed = "only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
        raise InvalidArgument(f"invalid name, {allowed}")


def random_name(rng: random.Random) -> str:
    """Make a name that a person can say."""
    return f"{rng.choice(_MOODS)}_{rng.choice(_BIRDS)}_{rng.randrange(1000)}"
