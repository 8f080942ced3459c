"""Protocols of the store's durable storage; the implementations are in `manager.store.backends`.

A `Backend` belongs to one manager. Several managers share a `SharedBackend`: one of them leads and commits, the others
follow.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import msgspec

from common.errors import Unavailable
from common.model import StoredObject
from manager.store.changes import ChangeSet


class Epoch(msgspec.Struct, frozen=True, order=True, array_like=True):
    """The number of a leadership; a later one is greater.

    `number` counts the leaders. `generation` counts how often the cluster was recreated from a backup or by force: then
    earlier leaders must not be trusted, however many there were.
    """

    generation: int = 0
    number: int = 0

    def following(self, generation: int = 0) -> Epoch:
        """Return the next leader's epoch, in this generation or the one given if that is later."""
        return Epoch(max(self.generation, generation), self.number + 1)

    def __str__(self) -> str:
        return f"{self.generation}.{self.number}"


class LeaderRecord(msgspec.Struct, frozen=True, array_like=True):
    """Who leads: a node, where its API and workers' port are reached (`addr`, HOST:PORT), and what release it runs.

    `vacant`: this leader has resigned, and the next one may claim at once.
    """

    node_id: str
    epoch: Epoch
    addr: str
    release: str
    vacant: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a backend held: every object, the index of the last change, and who leads, where managers share it."""

    index: int
    objects: Sequence[StoredObject]
    leader: LeaderRecord | None = None


class LeadershipLost(Unavailable):
    """This manager can no longer be sure that it leads."""


class Deposed(LeadershipLost):
    """Another manager leads: nothing of this was stored."""


class Unknown(LeadershipLost):
    """There was no answer: this may or may not be stored. What is followed from now on shows it."""


class NotLeader(Unavailable):
    """Only the leader, another manager, takes changes. `leader` is the last one known, None if there is none."""

    def __init__(self, leader: LeaderRecord | None) -> None:
        self.leader = leader if leader is not None and not leader.vacant else None
        where = f"ask the leader at {self.leader.addr}" if self.leader else "no manager leads just now, try again"
        super().__init__(f"this manager does not lead its cluster: {where}")


class Gap(Exception):
    """The next commits are no longer available one by one: load again."""


@dataclass(frozen=True, slots=True)
class Removal:
    """The removal of an object."""

    kind: type[StoredObject]
    id: str


Followed: TypeAlias = "FollowedCommit | FollowedLeader"


@dataclass(frozen=True, slots=True)
class FollowedCommit:
    """One whole commit of the leader, in its order, each object at most once; an empty one is a sign of life.

    `by` is the client that asked for it, as in `ChangeSet`, if it is one change set.
    """

    index: int
    changes: tuple[StoredObject | Removal, ...]
    by: str = ""


@dataclass(frozen=True, slots=True)
class FollowedLeader:
    """Another manager leads, or the one that did has given up."""

    record: LeaderRecord


class Backend(Protocol):
    async def load(self) -> Loaded:
        """Read everything.

        Raises:
            Unavailable: the storage cannot be read; the message says which and why.

        """

    def share_of_commit(self, change_set: ChangeSet) -> float:
        """Return a change set's share of the largest useful commit; change sets share a commit up to a sum of 1."""

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        """Make the change sets durable, all or none; returns only when they are.

        Raises:
            Unavailable: nothing was stored (a full disk, say); the message says why.

        """

    async def close(self) -> None: ...


class SharedBackend(Backend, Protocol):
    """The storage of several managers. Its `commit` is the leader's, and may also raise `LeadershipLost`.

    One task at a time may use it, but for `followed`, which may run beside `claim`, and `show_life`, of which several
    may run beside `commit`.
    """

    def followed(self) -> AsyncGenerator[Followed, None]:
        """Yield what happens after what was last loaded, yielded, claimed or committed here, for ever.

        It is silent for as long as the storage cannot be reached.

        Raises:
            Gap: load again.

        """

    async def claim(self, record: LeaderRecord) -> bool:
        """Become the leader, if nothing happened since what was last loaded or yielded; return whether it worked.

        Raises:
            Unavailable: the storage did not answer. If the claim was stored, what is followed says so.

        """

    async def beat(self) -> None:
        """Send a heartbeat: a commit without a change.

        Raises:
            Unavailable: as of `commit`.

        """

    async def show_life(self) -> None:
        """Send a sign of life during a commit; followers yield it as an empty commit.

        Unlike a heartbeat it does not keep managers that did not see it from claiming.

        Raises:
            Unavailable: the others may not have seen it; the outcome of the commit shows who leads.

        """

    async def resign(self) -> None:
        """Resign, so that another manager claims the leadership at once.

        Raises:
            Unavailable: as of `commit`; the others find out by themselves that this one is silent.

        """
