"""Which pass is next, and how long the rest takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Step = Literal["pass", "last", "give-up"]

MOST_PASSES = 5
# Less than this is not worth another pass: starting the task elsewhere takes longer.
SHORT_SECONDS = 1.0
# A pass that leaves more than this share of what the one before left has not brought the end nearer.
SHRINKS_TO = 0.8
# Before anything was measured.
_BYTES_A_SECOND = 50e6


@dataclass(frozen=True, slots=True)
class Work:
    """What a pass has to do, or did: files whose content is read, and their bytes; seconds of looking at all files."""

    files: int
    read: int
    looking: float = 0.0


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass that was made: what it did, in how many seconds, and what has changed meanwhile."""

    done: Work
    seconds: float
    left: Work


def seconds_for(work: Work, made: Sequence[Pass]) -> float:
    """Estimate how long `work` takes, by the pace of the pass before, or the one before that if that had little to do.

    A file counts as so many bytes too, since a small one takes as long as some KiB of a large one.
    """
    for each in reversed(made):
        if (weight := _weight(each.done)) and each.seconds > each.done.looking:
            return work.looking + _weight(work) * (each.seconds - each.done.looking) / weight
    return work.looking + _weight(work) / _BYTES_A_SECOND


def next_step(made: Sequence[Pass], max_downtime: float | None = None) -> Step:
    """Return what comes after these passes.

    max_downtime: seconds; None is without a limit. What would be the last pass gives up if it takes longer.
    """
    if not made:
        return "pass"
    rests = [seconds_for(each.left, made[: number + 1]) for number, each in enumerate(made)]
    short = rests[-1] < SHORT_SECONDS
    shrinks = len(rests) < 2 or rests[-1] <= SHRINKS_TO * rests[-2]
    if not short and shrinks and len(made) < MOST_PASSES:
        return "pass"
    return "last" if max_downtime is None or rests[-1] <= max_downtime else "give-up"


_FILE_WEIGHT = 32 * 1024


def _weight(work: Work) -> int:
    return work.read + work.files * _FILE_WEIGHT
