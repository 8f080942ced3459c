"""The two modes: as many slots as replicas, or one task on each eligible node, and the node is the slot."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from common.model import Node, Task
from common.model.task import RestartRecord
from common.spec.constraints import unmet
from manager.domain.volume_claims import data_node
from manager.orchestrate.node_availability import NodeAvailability, availability_of
from manager.orchestrate.reconcile import drain, restart
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import Phase, settle
from manager.orchestrate.reconcile.slots import Slot, by_node, by_number, free_numbers
from manager.orchestrate.update import canary, rolling


def decide(context: ServiceContext) -> None:
    """Bring the number of slots to the number of replicas, and look after each slot."""
    quiet, used, left = _sort_out(context)
    surplus = len(quiet) + len(used) - context.replicas
    if surplus > 0 or context.updating:
        used = dict(sorted({**used, **{number: Slot([task]) for number, task in quiet.items()}}.items()))
        quiet = {}
    if _look_after(context, used, shrink(used, context.replicas, context) if surplus > 0 else set()) and surplus < 0:
        grow(context, {*quiet, *used}, left)


def _sort_out(context: ServiceContext) -> tuple[dict[int, Task], dict[int, Slot], dict[int, Slot]]:
    """Divide the slots: those with nothing to do, which are most; the others in use; those whose tasks all leave."""
    quiet: dict[int, Task] = {}
    used: dict[int, Slot] = {}
    left: dict[int, Slot] = {}
    for number, tasks in by_number(context.view.tasks.of_service(context.service.id)).items():
        if len(tasks) == 1 and context.quiet(tasks[0]):
            quiet[number] = tasks[0]
        else:
            slot = Slot(tasks)
            (used if slot.tasks else left)[number] = slot
    return quiet, used, left


def _look_after(context: ServiceContext, used: Mapping[int, Slot], surplus: Collection[int]) -> bool:
    """Give up the surplus and look after the rest; return whether the draft had room for all."""
    phases: list[tuple[Slot, Phase]] = []
    context.spare = drain.spare(context, context.replicas, surplus)
    for number, slot in used.items():
        if context.draft.full:
            context.continue_at_once()
            return False
        if number in surplus:
            context.give_up(slot)
        else:
            phases.append((slot, settle(context, slot)))
    moving = sum(phase is Phase.MOVING for _, phase in phases)
    drain.evacuate(context, [slot for slot, phase in phases if phase is Phase.DRAINING], moving)
    leaving = [slot for slot, phase in phases if phase is Phase.LEAVING]
    if leaving and not moving:
        _relocate(context, leaving[0])
    rolling.roll(context, phases)
    return True


def _relocate(context: ServiceContext, slot: Slot) -> None:
    """Begin to move a slot to the node that was chosen for it: the replacement runs before the task stops."""
    task = slot.live[0]
    context.reason(f"task {task.name} moves from node {task.node_id} to {task.moving_to}, to even out the load")
    latest = max(each.created_at for each in (*slot.tasks, *slot.leaving))
    context.create(
        slot.number,
        task.moving_to,
        restart=restart.moved_record(task),
        after=latest,
        like=canary.task_to_keep(context, slot),
    )


def shrink(used: Mapping[int, Slot], count: int, context: ServiceContext) -> set[int]:
    """Return the numbers of the slots to give up so that `count` remain (swarmkit `replicated/slot.go`).

    Where slots have data, the highest numbers, so that the next to come find the data of the last that went. Else
    first those that have no node, then from the fullest nodes, there those that don't run, then the highest numbers.
    """
    if any(data_node(slot.newest, context.view) for slot in used.values() if slot.tasks):
        return set(sorted(used)[count:])
    in_order = sorted(used.values(), key=lambda slot: (not slot.running, slot.number))
    on_node: dict[str, int] = {}
    ranks: dict[int, tuple[bool, int, bool, int]] = {}
    for slot in in_order:
        place = on_node[slot.node_id] = on_node.get(slot.node_id, 0) + 1
        placed = bool(slot.node_id) and not context.lost(slot.newest)
        ranks[slot.number] = (not placed, place, not slot.running, slot.number)
    return set(sorted(ranks, key=ranks.__getitem__)[count:])


def grow(context: ServiceContext, used: Collection[int], left: Mapping[int, Slot]) -> None:
    """Fill the lowest free slots; a slot whose last task is still stopping waits for it.

    A decision makes as many as the draft has room for, or a tenth of those there are: looking at these takes as long.
    """
    missing = context.replicas - len(used)
    count = min(missing, max(context.draft.room, len(used) // 10))
    for number in free_numbers(used, count):
        slot = left.get(number)
        if slot is None:
            context.create(number, restart=RestartRecord(), like=canary.model(context))
        else:
            context.succeed(slot, RestartRecord())
    if count:
        context.reason(f"{count} new tasks towards {context.replicas} replicas")
    if count < missing:
        context.continue_at_once()


def decide_global(context: ServiceContext) -> None:
    """Fill, look after or empty the slot of each node (swarmkit `global/global.go`).

    Drained: the task stops, and its node gets a new one when it is back. Down: nothing is known of the task, and none
    can take its place, so it goes on if its node comes back. Paused: what runs stays, and nothing is started. Not
    meeting the constraints, or gone: the slot is given up.
    """
    slots = by_node(context.view.tasks.of_service(context.service.id))
    phases: list[tuple[Slot, Phase]] = []
    away: list[tuple[Slot, Phase]] = []  # counted for an update that has changed them, and by nobody as serving
    for node in context.view.nodes:
        if context.draft.full:
            context.continue_at_once()
            return
        slot = slots.pop(node.id, None)
        phases += _global_mode_look_after(context, node, slot)
        if slot is not None and availability_of(node) is NodeAvailability.LOST and canary.has_begun(context, slot):
            away.append((slot, Phase.SETTLED))
    for slot in slots.values():
        context.give_up(slot)
    context.spare = drain.spare(context, len(phases))
    rolling.roll(context, [*phases, *away])


def _global_mode_look_after(context: ServiceContext, node: Node, slot: Slot | None) -> list[tuple[Slot, Phase]]:
    availability = availability_of(node)
    if unmet(context.recipe.placement, node):
        context.give_up(slot)
    elif availability in (NodeAvailability.DRAINED, NodeAvailability.LOST):
        for task in slot.tasks if slot is not None else ():
            if node.spec.availability == "drain" or not task.serves:
                context.stop(task)
    elif slot is None or not slot.tasks:
        if availability is NodeAvailability.OPEN:
            _fill(context, node, slot)
    elif availability is NodeAvailability.OPEN or slot.live:
        phase = settle(context, slot)
        return [(slot, Phase.SETTLED if availability is NodeAvailability.KEEPING and phase is Phase.DIRTY else phase)]
    return []


def _fill(context: ServiceContext, node: Node, slot: Slot | None) -> None:
    context.reason(f"a task for node {node.name or node.id}")
    if slot is None:
        context.create(0, node.id, restart=RestartRecord(), like=canary.model(context))
    else:
        context.succeed(slot, RestartRecord())
