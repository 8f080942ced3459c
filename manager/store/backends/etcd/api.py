"""The part of etcd's API that is used, as values, and the protocol of its client.

Revisions are etcd's: one for each transaction that changed something. The `mod` of a key is the revision that wrote it
last, 0 where the key is not there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, TypeAlias

import msgspec

from common.errors import Unavailable


class NoAnswer(Unavailable):
    """etcd did not answer: what was asked of it may have been done, may be done yet, or never."""


class Refused(Unavailable):
    """etcd refused the call. Nothing was changed."""


class Compacted(Unavailable):
    """The revision is too old: etcd has compacted it."""


class Compare(msgspec.Struct, frozen=True):
    """That a key was written last by the revision `mod`."""

    key: bytes
    mod: int


class Put(msgspec.Struct, frozen=True):
    key: bytes
    value: bytes


class Delete(msgspec.Struct, frozen=True):
    key: bytes


class Get(msgspec.Struct, frozen=True):
    key: bytes


Operation: TypeAlias = Put | Delete | Get


class Transaction(msgspec.Struct, frozen=True):
    """If all of `compare` hold, `success` is executed, else `failure`, atomically."""

    compare: tuple[Compare, ...]
    success: tuple[Operation, ...]
    failure: tuple[Operation, ...] = ()


class KeyValue(msgspec.Struct, frozen=True):
    key: bytes
    value: bytes
    mod: int


class Outcome(msgspec.Struct, frozen=True):
    """What a transaction did, and the revision after it; `found` is the answer to each `Get`, None where no key is."""

    revision: int
    succeeded: bool
    found: tuple[KeyValue | None, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """Keys in order; `more`: others follow after the last. `revision` is the present one."""

    revision: int
    found: tuple[KeyValue, ...]
    more: bool


class Revision(msgspec.Struct, frozen=True):
    """All that one transaction put and deleted, in its order."""

    number: int
    changes: tuple[Put | Delete, ...]


class Etcd(Protocol):
    """A client of an etcd cluster. Each call may raise `NoAnswer`."""

    async def transact(self, transaction: Transaction) -> Outcome:
        """Perform a transaction.

        Raises:
            NoAnswer: it may have been performed, or may be yet.
            Refused: it was not.

        """

    async def read(self, first: bytes, end: bytes, *, limit: int, revision: int = 0) -> Page:
        """Read the keys from `first` up to, not including, `end`: as of a revision, or as they are now.

        Raises:
            Compacted: that revision is gone.

        """

    def watch(self, prefix: bytes, revision: int) -> AsyncGenerator[Revision, None]:
        """Yield each revision, from this one on, that changes keys below `prefix`.

        Raises:
            NoAnswer: the connection ended, or the member has lost the others.
            Compacted: that revision is gone, or etcd does not have it, as it was restored from a copy.

        """

    async def close(self) -> None: ...


def end_of(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with a prefix, which does not end in 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
