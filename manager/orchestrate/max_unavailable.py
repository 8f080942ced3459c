"""How many of a service's replicas may be missing at once by what is done on purpose: `swarm.x.max-unavailable`.

What counts is what serves, whatever the rest is missing for: a replica that failed by itself leaves the less for an
update to stop. So updates, drained nodes and moves are bounded together, in the order in which they ask.
"""

from __future__ import annotations

from collections.abc import Collection

from common.model.service import EXTENSION_PREFIX
from common.spec import extensions
from manager.orchestrate.reconcile.service_context import ServiceContext

LABEL = EXTENSION_PREFIX + "max-unavailable"


def spare(context: ServiceContext, wanted: int, surplus: Collection[int] = ()) -> int | None:
    """Return how many tasks that serve may stop before others serve in their place; None when that has no bound.

    `wanted` are the replicas there are to be, `surplus` the slots that are given up.
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
