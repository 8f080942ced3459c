"""Why a task waits: the scheduler's own filters asked again for each node, and nothing decided. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from common.clock import to_the_second
from common.model import Task, TaskState
from common.model.naming import Model
from manager.domain import volumes
from manager.domain.hostnames import node_name
from manager.domain.update_status import waits_for
from manager.domain.volume_claims import Claims
from manager.schedule.filters import Refusal, pipeline
from manager.schedule.load import ClusterLoad
from manager.schedule.node_load import NodeLoad
from manager.store.view import View


class RefusingNodes(Model):
    """A reason for which `nodes`, by their names, do not take the task; `lacking` is what they lack, most often first.

    `reason` is the sentence that the task's own error has.
    """

    reason: str
    nodes: tuple[str, ...]
    lacking: tuple[str, ...] = ()


class Why(Model):
    """Why a task is not on a node.

    `looked_at` nodes were asked; of those `refusing` do not take it, the most frequent reason first, and `fitting`
    would. `invalid` says what no node can ever meet. `waits` says what else it waits for, as for data that no node can
    give it, and then none was asked; a task that has a node, or is not to run, waits for nothing.
    """

    task: str
    state: str
    looked_at: int = 0
    invalid: str = ""
    refusing: tuple[RefusingNodes, ...] = ()
    fitting: tuple[str, ...] = ()
    waits: str = ""


def is_to_place(task: Task) -> bool:
    """Whether a node is to be found for a task: only then do the nodes have to be asked."""
    return not (task.placed or task.status.state.terminal or task.desired_state > TaskState.RUNNING)


def why(task: Task, view: View, load: ClusterLoad) -> Why:
    """Ask the nodes about a task as the scheduler would; `load` is theirs."""
    state = task.status.state.name.lower()
    if not is_to_place(task):
        return Why(task=task.id, state=state)
    rules = pipeline(task, view, load)
    match volumes.places(task, Claims(view)):
        case volumes.Nowhere(reason=reason):
            return Why(task=task.id, state=state, waits=reason)
        case volumes.Only(node_id=node_id, volume=volume) if volume:
            rules = rules.on_node(node_id, node_name(view, node_id), volume)
        case volumes.Anywhere() as where:
            rules = rules.without_nodes(where.unfit, where.volume)
    nodes = [each for each in load.nodes.values() if each.node is not None and task.node_id in ("", each.id)]
    refusals = [] if rules.invalid else rules.refusals(nodes)
    refused = {node.id for each in refusals for node in each.nodes}
    return Why(
        task=task.id,
        state=state,
        looked_at=len(nodes),
        invalid=rules.invalid,
        refusing=tuple(map(_refusing, refusals)),
        fitting=() if rules.invalid else _names(each for each in nodes if each.id not in refused),
        waits=_waits(task, view),
    )


def _refusing(refusal: Refusal) -> RefusingNodes:
    missing = refusal.filter.missing(refusal.nodes)
    return RefusingNodes(
        reason=refusal.filter.explain(refusal.nodes, missing),
        nodes=_names(refusal.nodes),
        lacking=tuple(missing),
    )


def _names(nodes: Iterable[NodeLoad]) -> tuple[str, ...]:
    return tuple(sorted(each.node.name for each in nodes if each.node is not None))


def _waits(task: Task, view: View) -> str:
    """Say what a task waits for that no node has to do with, but for its data."""
    if task.held_back:
        return f"preparing it failed: it is tried again at {to_the_second(task.restart.not_before)}"
    if task.status.state < TaskState.PENDING:
        service = view.services.get(task.service_id)
        waited = waits_for(service.waits_for) if service is not None else ""
        return waited or "it has no addresses yet"
    return ""
