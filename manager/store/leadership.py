"""Whether a manager claims the leadership, keeps it or lets it go: pure.

That two managers never both change the store is the storage's doing, not this module's: a claim that comes too early
fails, and a leader that goes on too long is refused. What is decided here is only how soon a silent leader is replaced,
when one gives up by itself, and that it answers no question any more by the time another may have changed something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from manager.store.backend import Epoch, LeaderRecord


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: how long a leader may be silent to the others, and when to claim again.

    A leader is `sure` of what it has for so long after a confirmed commit. It leads on without a confirmation until
    `step_down`, longer than the others wait: by its own clock its silence begins when it sends, by theirs when they
    hear, and on a slow machine these are far apart. The default is for storage that elects within a second.
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

    `has_led` says that the record is its own, and that it has led by it and does not any more. `moved_at` is when the
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
    """Follow; look again at an instant, or when the leader is heard of."""

    until: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim, as the leader of an epoch."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Serve:
    """Lead on; look again at an instant."""

    until: float


@dataclass(frozen=True, slots=True)
class StepDown:
    """Lead no more."""


Verdict: TypeAlias = Wait | Claim | Serve | StepDown


def judge(seen: Seen, now: float, jitter: float, patience: Patience, generation: int = 0) -> Verdict:
    """Say what a manager does about the leadership at `now`.

    `jitter` (seconds) keeps managers from claiming in the same instant. `generation` is the cluster's, where that is
    later than the last leader's.
    """
    if seen.shown_at is not None:
        end = seen.shown_at + patience.step_down
        return Serve(end) if now < end else StepDown()
    claim_at = _claim_at(seen, jitter, patience)
    if now < claim_at:
        return Wait(claim_at)
    return Claim((seen.record.epoch if seen.record is not None else Epoch()).following(generation))


def _claim_at(seen: Seen, jitter: float, patience: Patience) -> float:
    """Return when to claim, if nothing is heard of a leader until then."""
    # What was heard since a claim may be why it failed, and then the next one need not.
    heard = seen.moved_at > seen.tried_at
    again = seen.moved_at if heard else seen.tried_at + patience.claim_again + jitter
    if seen.record is None:
        return again
    # By a record of its own nobody else leads: it is from before a start, or of a claim whose answer was lost. But a
    # manager that has led by it, and could not go on or has given up, leaves it to the others first.
    own = seen.record.node_id == seen.node_id
    if (own or seen.record.vacant) and not seen.has_led:
        return again
    return max(again, seen.moved_at + patience.silence + jitter)
