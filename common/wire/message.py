"""What all messages of the wire have in common."""

from __future__ import annotations

from typing import ClassVar, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A body. `KIND` is its number on the wire, never reused."""

    KIND: ClassVar[int] = 0
