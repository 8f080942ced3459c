"""Leader election: whether a manager claims the leadership, keeps it or steps down. Pure.

The storage ensures that two managers never both change the store: a claim that comes too early fails, and a leader that
goes on too long is refused. This module decides only how soon a silent leader is replaced, when a leader steps down by
itself, and that it no longer answers for its state by the time another may have changed something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from manager.store.backend import Epoch, LeaderRecord


@dataclass(frozen=True, slots=True)
class LeadershipTimeouts:
    """In seconds: how long a leader may be silent (`silence`), and when to claim again (`claim_again`).

    A leader is `sure` of its state for so long after a confirmed commit. Without a confirmation it leads on until
    `step_down`, longer than the others wait: by its clock its silence begins when it sends, by theirs when they
    receive, and on a slow machine these are far apart. The default is for storage that elects within a second.
    """

    silence: float = 1.5
    sure: float = 1.2
    step_down: float = 2.0
    claim_again: float = 0.3

    def __post_init__(self) -> None:
        assert self.sure < self.silence < self.step_down, "a leader must be unsure before another one can lead"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a manager knows of the leadership. Instants are by a clock that only counts, in seconds.

    `has_led`: the record is its own, it has led by it and no longer does. `moved_at` is when the
    leader was last heard of, `shown_at` when this manager, leading, had sent what last showed the others that it does
    (None where it does not lead), `tried_at` when it last claimed.
    """

    node_id: str
    record: LeaderRecord | None
    has_led: bool
    moved_at: float
    shown_at: float | None
    tried_at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Follow; judge again at an instant, or when the leader shows a sign of life."""

    until: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim, as the leader of an epoch."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Serve:
    """Lead on; judge again at an instant."""

    until: float


@dataclass(frozen=True, slots=True)
class StepDown:
    """Stop leading."""


Verdict: TypeAlias = Wait | Claim | Serve | StepDown


def judge(seen: Seen, now: float, jitter: float, timeouts: LeadershipTimeouts, generation: int = 0) -> Verdict:
    """Return what a manager does about the leadership at `now`.

    `jitter` (seconds) keeps managers from claiming in the same instant. `generation` is the cluster's, where that is
    later than the last leader's.
    """
    if seen.shown_at is not None:
        end = seen.shown_at + timeouts.step_down
        return Serve(end) if now < end else StepDown()
    claim_at = _claim_at(seen, jitter, timeouts)
    if now < claim_at:
        return Wait(claim_at)
    return Claim((seen.record.epoch if seen.record is not None else Epoch()).following(generation))


def _claim_at(seen: Seen, jitter: float, timeouts: LeadershipTimeouts) -> float:
    """Return when to claim, if no leader shows a sign of life until then."""
    # What was heard since a claim may be why it failed, and then the next one need not.
    heard = seen.moved_at > seen.tried_at
    again = seen.moved_at if heard else seen.tried_at + timeouts.claim_again + jitter
    if seen.record is None:
        return again
    # By a record of its own nobody else leads: it is from before a start, or of a claim whose answer was lost. But a
    # manager that has led by it, and could not go on or has given up, leaves it to the others first.
    own = seen.record.node_id == seen.node_id
    if (own or seen.record.vacant) and not seen.has_led:
        return again
    return max(again, seen.moved_at + timeouts.silence + jitter)
