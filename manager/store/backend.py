"""Where the store is durable: `manager.store.backends` has the ways.

A `Backend` belongs to one manager. A `SharedBackend` is what several managers have in common: one of them leads and
commits, the others follow.
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
    """Which leadership something is of; a later one is greater.

    `number` counts the leaders. `generation` counts how often the cluster was made anew from a backup or by force: then
    leaders of before must not be believed, however many there were.
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

    `vacant`: this leader has given up on purpose, and whoever follows may claim at once.
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
    """This manager cannot know any more that it leads."""


class Deposed(LeadershipLost):
    """Another manager leads: nothing of this was stored."""


class Unknown(LeadershipLost):
    """There was no answer: this may or may not be stored. What is followed from now on tells."""


class NotLeader(Unavailable):
    """Changes go to the leader, which is another manager. `leader` is the last one known, None when there is none."""

    def __init__(self, leader: LeaderRecord | None) -> None:
        self.leader = leader if leader is not None and not leader.vacant else None
        where = f"ask the leader at {self.leader.addr}" if self.leader else "no manager leads just now, try again"
        super().__init__(f"this manager does not lead its cluster: {where}")


class Gap(Exception):
    """What comes next cannot be had one commit after the other any more: load again."""


@dataclass(frozen=True, slots=True)
class Removal:
    """An object that is gone."""

    kind: type[StoredObject]
    id: str


Followed: TypeAlias = "FollowedCommit | FollowedLeader"


@dataclass(frozen=True, slots=True)
class FollowedCommit:
    """One whole commit of the leader, in its order, each object at most once; an empty one says that it is there.

    `by` is who asked for it, as `ChangeSet` has it, where that is one.
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
        """Return which part of the largest useful commit a change set is; change sets up to 1 share one."""

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
        """Show that this leader lives: a commit without a change.

        Raises:
            Unavailable: as of `commit`.

        """

    async def show_life(self) -> None:
        """Show that this leader lives while it commits; what follows yields that as an empty commit.

        Unlike a beat it does not keep others from claiming who did not hear of it.

        Raises:
            Unavailable: the others may not have heard it; what becomes of the commit says who leads.

        """

    async def resign(self) -> None:
        """Give up the leadership, so that another manager claims at once.

        Raises:
            Unavailable: as of `commit`; the others find out by themselves that this one is silent.

        """
