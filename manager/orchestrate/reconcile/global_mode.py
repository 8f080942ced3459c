"""Global services: one task on each eligible node, and the node is the slot."""

from __future__ import annotations

from common.model import Node
from common.model.task import RestartRecord
from common.spec.constraints import unmet
from manager.orchestrate import max_unavailable
from manager.orchestrate.node_availability import NodeAvailability, standing
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import Phase, settle
from manager.orchestrate.reconcile.slots import Slot, by_node
from manager.orchestrate.update import canary, rolling


def decide(case: ServiceContext) -> None:
    """Fill, look after or empty the slot of each node (swarmkit `global/global.go`).

    Drained or down: the task stops, and its node gets a new one when it is back. Paused: what runs stays, and nothing
    is started. Not meeting the constraints, or gone: the slot is given up.
    """
    slots = by_node(case.view.tasks.of_service(case.service.id))
    phases: list[tuple[Slot, Phase]] = []
    for node in case.view.nodes:
        if case.draft.full:
            case.continue_at_once()
            return
        slot = slots.pop(node.id, None)
        phases += _look_after(case, node, slot)
    for slot in slots.values():
        case.give_up(slot)
    case.spare = max_unavailable.spare(case, len(phases))
    rolling.roll(case, phases)


def _look_after(case: ServiceContext, node: Node, slot: Slot | None) -> list[tuple[Slot, Phase]]:
    stands = standing(node)
    if unmet(case.recipe.placement, node):
        case.give_up(slot)
    elif stands in (NodeAvailability.DRAINED, NodeAvailability.LOST):
        for task in slot.tasks if slot is not None else ():
            case.stop(task)
    elif slot is None or not slot.tasks:
        if stands is NodeAvailability.OPEN:
            _fill(case, node, slot)
    elif stands is NodeAvailability.OPEN or slot.live:
        phase = settle(case, slot)
        return [(slot, Phase.SETTLED if stands is NodeAvailability.KEEPING and phase is Phase.DIRTY else phase)]
    return []


def _fill(case: ServiceContext, node: Node, slot: Slot | None) -> None:
    case.reason(f"a task for node {node.name or node.id}")
    if slot is None:
        case.create(0, node.id, restart=RestartRecord(), like=canary.model(case))
    else:
        case.succeed(slot, RestartRecord())
