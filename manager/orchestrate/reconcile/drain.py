"""Emptying drained nodes: a replacement runs before the drained task stops, a few at a time.

Swarm stops first, and a service with one replica is gone until its image is pulled elsewhere (moby#34139).

`swarm.x.max-unavailable` bounds how many of a service's replicas may be missing at once by what is done on purpose.
What counts is what serves, whatever the reason why the rest is missing: a failed replica leaves one less for an update
to stop. So updates, drained nodes and moves share one bound, first come, first served.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from common.model import Task
from common.model.service import EXTENSION_PREFIX
from common.spec import extensions
from manager.orchestrate.reconcile import restart
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import next_record
from manager.orchestrate.reconcile.slots import Slot
from manager.orchestrate.update import canary
from manager.store.view import View

# Tasks that are on the move at once: of one service, and off one node.
MOVES_AT_ONCE = 10
# A node's next tasks move when one of its tasks has left; this is for when no replacement finds a place.
LOOK_AGAIN = 5.0


def evacuate(context: ServiceContext, draining: Sequence[Slot], moving: int) -> None:
    """Start moving slots whose tasks serve on drained nodes, while `moving` others are being moved."""
    for slot in draining[: max(0, MOVES_AT_ONCE - moving)]:
        if context.draft.full:
            context.continue_at_once()
            return
        node_id = slot.live[0].node_id
        if _leaving(context, node_id) < MOVES_AT_ONCE:
            context.draft.leaving[node_id] += 1
            _move_slot(context, slot)
        else:
            context.wake(context.now + LOOK_AGAIN)


def _leaving(context: ServiceContext, node_id: str) -> int:
    """Return how many tasks are on the move off a node, whatever their services; counted once a decision."""
    leaving = context.draft.leaving
    if node_id not in leaving:
        leaving[node_id] = sum(_is_leaving(context.view, task) for task in context.view.tasks.on_node(node_id))
    return leaving[node_id]


def _is_leaving(view: View, task: Task) -> bool:
    """Whether another task of the slot is about to take over; one that finds no node does not count."""
    if not task.serves:
        return False
    others = view.tasks.in_slot(task.service_id, task.slot, task.node_id if not task.slot else "")
    return any(other.live and other.id != task.id and not other.status.err for other in others)


def _move_slot(context: ServiceContext, slot: Slot) -> None:
    incumbent = slot.live[0]
    kept = canary.task_to_keep(context, slot) is not None
    record = next_record(context, slot, kept=kept) if restart.is_movable(incumbent) else None
    if record is None:
        context.reason(
            f"task {incumbent.name} stops on drained node {incumbent.node_id}: its restart policy does "
            "not allow a replacement"
        )
        context.stop(incumbent)
    elif context.tied_to_data(incumbent):
        context.reason(f"task {incumbent.name} stops on drained node {incumbent.node_id}, where its data is")
        context.replace(slot, incumbent, record)
    else:
        context.reason(f"task {incumbent.name} is replaced before it stops on drained node {incumbent.node_id}")
        context.create_successor(slot, record)


LABEL = EXTENSION_PREFIX + "max-unavailable"


def spare_replicas(context: ServiceContext, wanted: int, surplus: Collection[int] = ()) -> int | None:
    """Return how many serving tasks may stop before others serve in their place; None without a bound.

    `wanted` is the number of replicas, `surplus` the slots that are discarded.
    """
    if LABEL not in context.service.spec.labels:
        return None
    bound = extensions.of(context.service).max_unavailable
    assert bound is not None
    serving = {
        task.slot or task.node_id
        for task in context.view.tasks.of_service(context.service.id)
        if task.serves and not context.lost(task) and task.slot not in surplus
    }
    return max(0, len(serving) - wanted + bound.of(wanted))
