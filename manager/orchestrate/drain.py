"""Emptying drained nodes: a replacement runs before the drained task stops, a few at a time.

Swarm stops first, and a service with one replica is gone until its image is pulled elsewhere (moby#34139).
"""

from __future__ import annotations

from collections.abc import Sequence

from manager.orchestrate import restart
from manager.orchestrate.case import Case
from manager.orchestrate.slots import Slot
from manager.orchestrate.upkeep import next_record

# Tasks of one service that are on the move at once.
MOVES_AT_ONCE = 10


def evacuate(case: Case, draining: Sequence[Slot], moving: int) -> None:
    """Begin to move slots whose tasks serve on drained nodes, while `moving` others are on their way."""
    for slot in draining[: max(0, MOVES_AT_ONCE - moving)]:
        if case.draft.full:
            case.continue_at_once()
            return
        _leave(case, slot)


def _leave(case: Case, slot: Slot) -> None:
    incumbent = slot.live[0]
    record = next_record(case, slot) if restart.movable(incumbent) else None
    if record is None:
        case.reason(
            f"task {incumbent.name} stops on drained node {incumbent.node_id}: its policy allows no other start"
        )
        case.stop(incumbent)
    else:
        case.reason(f"task {incumbent.name} is replaced before it stops on drained node {incumbent.node_id}")
        case.succeed(slot, record)
