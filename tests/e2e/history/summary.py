"""What a history consists of, and how long nobody's changes were taken, in a few lines."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from tests.e2e.history.record import Append, Create, Fault, History, Operation, Outcome, Remove, Scale

# After a fault the next leader is looked for so long, or until the fault ends.
_LOOKED_SECONDS = 10.0
_CHANGES = (Append, Create, Scale, Remove)


def summary(history: History) -> str:
    """Say what a round was made of, and for each kind of fault the longest time without an acknowledged change."""
    operations = Counter(f"{type(each).__name__.lower()} {each.outcome}" for each in history.operations)
    faults = Counter(fault.kind for fault in history.faults)
    longest = max((probe.ended - probe.began for probe in history.probes), default=0)
    pauses = {kind: [round(each, 2) for each in found] for kind, found in sorted(outages(history).items())}
    return (
        f"{len(history.operations)} operations {dict(sorted(operations.items()))}, "
        f"{len(history.faults)} faults {dict(sorted(faults.items()))}, "
        f"{len(history.probes)} probes, the slowest answered after {longest:.2f} s, "
        f"{len(history.deaths)} containers ended; seconds without a change: {pauses}"
    )


def outages(history: History) -> dict[str, list[float]]:
    """Return the longest times in which no change was acknowledged, in seconds, by the kind of fault: one for each.

    A client pauses between two changes, and so there is a while without one in any case.
    """
    taken = sorted(each.ended for each in history.operations if _is_taken(each))
    found: defaultdict[str, list[float]] = defaultdict(list)
    for fault in history.faults:
        found[fault.kind].append(_longest(fault, taken))
    return found


def _is_taken(operation: Operation) -> bool:
    return isinstance(operation, _CHANGES) and operation.outcome is Outcome.DONE


def _longest(fault: Fault, taken: list[float]) -> float:
    """Return the longest time between two of these instants that are near a fault."""
    near = [each for each in taken if fault.began <= each <= fault.began + _LOOKED_SECONDS]
    return max((later - earlier for earlier, later in pairwise([fault.began, *near])), default=_LOOKED_SECONDS)
