"""Global services: one task on each eligible node, and the node is the slot."""

from __future__ import annotations

from common.model import Node
from common.model.task import RestartRecord
from common.spec.constraints import unmet
from manager.orchestrate.node_availability import NodeAvailability, standing
from manager.orchestrate.reconcile import drain
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import Phase, settle
from manager.orchestrate.reconcile.slots import Slot, by_node
from manager.orchestrate.update import canary, rolling


def decide(context: ServiceContext) -> None:
    """Fill, look after or empty the slot of each node (swarmkit `global/global.go`).

    Drained or down: the task stops, and its node gets a new one when it is back. Paused: what runs stays, and nothing
    is started. Not meeting the constraints, or gone: the slot is given up.
    """
    slots = by_node(context.view.tasks.of_service(context.service.id))
    phases: list[tuple[Slot, Phase]] = []
    for node in context.view.nodes:
        if context.draft.full:
            context.continue_at_once()
            return
        slot = slots.pop(node.id, None)
        phases += _look_after(context, node, slot)
    for slot in slots.values():
        context.give_up(slot)
    context.spare = drain.spare(context, len(phases))
    rolling.roll(context, phases)


def _look_after(context: ServiceContext, node: Node, slot: Slot | None) -> list[tuple[Slot, Phase]]:
    stands = standing(node)
    if unmet(context.recipe.placement, node):
        context.give_up(slot)
    elif stands in (NodeAvailability.DRAINED, NodeAvailability.LOST):
        for task in slot.tasks if slot is not None else ():
            context.stop(task)
    elif slot is None or not slot.tasks:
        if stands is NodeAvailability.OPEN:
            _fill(context, node, slot)
    elif stands is NodeAvailability.OPEN or slot.live:
        phase = settle(context, slot)
        return [(slot, Phase.SETTLED if stands is NodeAvailability.KEEPING and phase is Phase.DIRTY else phase)]
    return []


def _fill(context: ServiceContext, node: Node, slot: Slot | None) -> None:
    context.reason(f"a task for node {node.name or node.id}")
    if slot is None:
        context.create(0, node.id, restart=RestartRecord(), like=canary.model(context))
    else:
        context.succeed(slot, RestartRecord())
