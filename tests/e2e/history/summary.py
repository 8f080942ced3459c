"""What a history consists of, in one line."""

from __future__ import annotations

from collections import Counter

from tests.e2e.history.record import History


def summary(history: History) -> str:
    """Say in one line what a round was made of."""
    operations = Counter(f"{type(each).__name__.lower()} {each.outcome}" for each in history.operations)
    faults = Counter(fault.kind for fault in history.faults)
    longest = max((probe.ended - probe.began for probe in history.probes), default=0)
    return (
        f"{len(history.operations)} operations {dict(sorted(operations.items()))}, "
        f"{len(history.faults)} faults {dict(sorted(faults.items()))}, "
        f"{len(history.probes)} probes, the slowest answered after {longest:.2f} s, "
        f"{len(history.deaths)} containers ended"
    )
