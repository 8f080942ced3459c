"""The two modes: replicated, with as many slots as replicas, and global, where each eligible node is a slot."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from common.model import Node, Task
from common.model.task import RestartRecord
from common.spec.constraints import unmet
from manager.domain.volume_claims import data_node
from manager.orchestrate.node_availability import NodeAvailability, availability_of
from manager.orchestrate.reconcile import drain, restart
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import Phase, reconcile_slot
from manager.orchestrate.reconcile.slots import Slot, by_node, by_number, free_numbers
from manager.orchestrate.update import canary, rolling


def decide_replicated(context: ServiceContext) -> None:
    """Bring the number of slots to the number of replicas, and look after each slot."""
    quiet, used, left = _divide_slots(context)
    surplus = len(quiet) + len(used) - context.replicas
    if surplus > 0 or context.updating:
        used = dict(sorted({**used, **{number: Slot([task]) for number, task in quiet.items()}}.items()))
        quiet = {}
    discarded = shrink(used, context.replicas, context) if surplus > 0 else set()
    if _reconcile_slots(context, used, discarded) and surplus < 0:
        grow(context, {*quiet, *used}, left)


def _divide_slots(context: ServiceContext) -> tuple[dict[int, Task], dict[int, Slot], dict[int, Slot]]:
    """Divide the slots: those with nothing to do, which are most; others in use; those whose tasks all leave."""
    quiet: dict[int, Task] = {}
    used: dict[int, Slot] = {}
    left: dict[int, Slot] = {}
    for number, tasks in by_number(context.view.tasks.of_service(context.service.id)).items():
        if len(tasks) == 1 and context.needs_nothing(tasks[0]):
            quiet[number] = tasks[0]
        else:
            slot = Slot(tasks)
            (used if slot.tasks else left)[number] = slot
    return quiet, used, left


def _reconcile_slots(context: ServiceContext, used: Mapping[int, Slot], surplus: Collection[int]) -> bool:
    """Discard the surplus and reconcile the rest; return whether the draft had room for all."""
    phases: list[tuple[Slot, Phase]] = []
    context.spare = drain.spare_replicas(context, context.replicas, surplus)
    for number, slot in used.items():
        if context.draft.full:
            context.continue_at_once()
            return False
        if number in surplus:
            context.discard_slot(slot)
        else:
            phases.append((slot, reconcile_slot(context, slot)))
    moving = sum(phase is Phase.MOVING for _, phase in phases)
    drain.evacuate(context, [slot for slot, phase in phases if phase is Phase.DRAINING], moving)
    leaving = [slot for slot, phase in phases if phase is Phase.LEAVING]
    if leaving and not moving:
        _relocate(context, leaving[0])
    rolling.roll(context, phases)
    return True


def _relocate(context: ServiceContext, slot: Slot) -> None:
    """Start moving a slot to the node that was chosen for it: the replacement runs before the task stops."""
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
    """Return the numbers of the slots to discard so that `count` remain (swarmkit `replicated/slot.go`).

    Where slots have data, the highest numbers, so that slots added later find the data of those removed last. Otherwise
    first those without a node, then those on the fullest nodes, there those that do not run, then the highest numbers.
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

    A decision creates as many as the draft has room for, or a tenth of the present ones: looking at these takes as
        long.
    """
    missing = context.replicas - len(used)
    count = min(missing, max(context.draft.room, len(used) // 10))
    for number in free_numbers(used, count):
        slot = left.get(number)
        if slot is None:
            context.create(number, restart=RestartRecord(), like=canary.model_task(context))
        else:
            context.create_successor(slot, RestartRecord())
    if count:
        context.reason(f"{count} new tasks towards {context.replicas} replicas")
    if count < missing:
        context.continue_at_once()


def decide_global(context: ServiceContext) -> None:
    """Fill, reconcile or empty the slot of each node (swarmkit `global/global.go`).

    Drained: the task stops, and its node gets a new one when it is active again. Down: the task's state is unknown and
    no other can take its place, so it goes on if its node comes back. Paused: what runs stays, and nothing is started.
    Not meeting the constraints, or gone: the slot is discarded.
    """
    slots = by_node(context.view.tasks.of_service(context.service.id))
    phases: list[tuple[Slot, Phase]] = []
    away: list[tuple[Slot, Phase]] = []  # they count for an update that has changed them, and never as serving
    for node in context.view.nodes:
        if context.draft.full:
            context.continue_at_once()
            return
        slot = slots.pop(node.id, None)
        phases += _reconcile_node(context, node, slot)
        if slot is not None and availability_of(node) is NodeAvailability.LOST and canary.has_begun(context, slot):
            away.append((slot, Phase.SETTLED))
    for slot in slots.values():
        context.discard_slot(slot)
    context.spare = drain.spare_replicas(context, len(phases))
    rolling.roll(context, [*phases, *away])


def _reconcile_node(context: ServiceContext, node: Node, slot: Slot | None) -> list[tuple[Slot, Phase]]:
    availability = availability_of(node)
    if unmet(context.task_spec.placement, node):
        context.discard_slot(slot)
    elif availability in (NodeAvailability.DRAINED, NodeAvailability.LOST):
        for task in slot.tasks if slot is not None else ():
            if node.spec.availability == "drain" or not task.serves:
                context.stop(task)
    elif slot is None or not slot.tasks:
        if availability is NodeAvailability.OPEN:
            _fill(context, node, slot)
    elif availability is NodeAvailability.OPEN or slot.live:
        phase = reconcile_slot(context, slot)
        return [(slot, Phase.SETTLED if availability is NodeAvailability.KEEPING and phase is Phase.DIRTY else phase)]
    return []


def _fill(context: ServiceContext, node: Node, slot: Slot | None) -> None:
    context.reason(f"a task for node {node.name or node.id}")
    if slot is None:
        context.create(0, node.id, restart=RestartRecord(), like=canary.model_task(context))
    else:
        context.create_successor(slot, RestartRecord())
