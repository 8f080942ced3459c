"""Where a drained node's data goes, and the moves of data whose services have the policy `move`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from random import Random

from msgspec.structs import replace

from common.errors import FailedPrecondition
from common.ids import new_id
from common.model import Node, Task, Transfer, VolumeClaim
from common.model.volume import volume_id
from manager.domain.transfers import check, claims_on, moved_together
from manager.domain.volume_claims import in_use, moves_with_drain
from manager.schedule.filters import pipeline
from manager.schedule.load import ClusterLoad
from manager.store.changes import Change, Decision
from manager.store.view import View

# How long until a failed move is tried again.
RETRY_SECONDS = 60.0
# How many of the nodes' reasons for a refusal are shown.
_REASONS = 3


def concerned_nodes(change: Change, _view: View) -> Iterable[str]:
    """Name the node that may have data to move: its data has changed, or whether it is drained."""
    value = change.current
    if isinstance(value, Node):
        return (value.id,) if _is_drained(value) else ()
    if isinstance(value, VolumeClaim):
        return (value.node_id,)
    return (value.source,) if isinstance(value, Transfer) and not value.active else ()


def drained_nodes(view: View) -> Iterable[str]:
    return [node.id for node in view.nodes if _is_drained(node)]


def _is_drained(node: Node) -> bool:
    return node.spec.availability == "drain" and node.status.state == "ready"


def decide(view: View, keys: Collection[str], now: float, rng: Random) -> Decision:
    """Start to move data off drained nodes (`keys` are their ids), of services with the volume policy `move`."""
    load: ClusterLoad | None = None
    put: list[Transfer] = []
    wake_at: dict[str, float] = {}
    reasons: list[str] = []
    for node in filter(None, map(view.nodes.get, keys)):
        for group in volume_groups_on(node, view) if _is_drained(node) else ():
            if not _is_wanted(node, group, view) or _is_moved(node, group, view):
                continue
            again = _failed_at(node, group, view) + RETRY_SECONDS
            if again > now:
                wake_at[node.id] = min(again, wake_at.get(node.id, again))
                continue
            load = load or ClusterLoad.of(view)
            try:
                move = move_off(node, group, load, view, rng)
            except FailedPrecondition as error:
                reasons.append(f"volume {group[0]} is not moved off the drained node {node.name}: {error.message}")
                put.append(failed_move(node, group, error.message, view, rng))
                wake_at[node.id] = min(now + RETRY_SECONDS, wake_at.get(node.id, now + RETRY_SECONDS))
            else:
                put.append(move)
    return Decision(put=tuple(put), wake_at=wake_at, reasons=tuple(reasons))


def _is_wanted(node: Node, group: tuple[str, ...], view: View) -> bool:
    claims = (claim for name in group for claim in claims_on(node.id, name, view))
    return any(moves_with_drain(service) for claim in claims for service in view.services.named(claim.service))


def _is_moved(node: Node, group: tuple[str, ...], view: View) -> bool:
    return any(
        each.active and each.source == node.id and not set(group).isdisjoint(each.volumes) for each in view.transfers
    )


def _failed_at(node: Node, group: tuple[str, ...], view: View) -> float:
    """Return when a move of these volumes off a node failed last (Unix seconds); minus infinity if none did."""
    failed = (each for each in view.transfers if each.phase == "failed" and each.source == node.id)
    return max((each.updated_at for each in failed if not set(group).isdisjoint(each.volumes)), default=float("-inf"))


def failed_move(node: Node, group: tuple[str, ...], why: str, view: View, rng: Random) -> Transfer:
    """Return the record of a move that no node can take: one for each group of volumes, however often tried."""
    before = (each for each in view.transfers if each.phase == "failed" and each.source == node.id)
    same = next((each for each in before if not each.target and set(each.volumes) == set(group)), None)
    return replace(same or Transfer(id=new_id(rng), volumes=group, source=node.id, phase="failed"), error=why)


def volume_groups_on(node: Node, view: View) -> list[tuple[str, ...]]:
    """List the groups of a node's volumes with data of services that move together, the smallest first."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for claim in view.volume_claims.on_node(node.id):
        if in_use(claim, view):
            group = moved_together(node.id, claim.volume, view)
            found.setdefault(frozenset(group), group)

    def size(group: tuple[str, ...]) -> int:
        copies = (view.volumes.get(volume_id(node.id, name)) for name in group)
        return sum(max(0, copy.size) for copy in copies if copy is not None)

    return sorted(found.values(), key=lambda group: (size(group), group))


def move_off(source: Node, group: tuple[str, ...], load: ClusterLoad, view: View, rng: Random) -> Transfer:
    """Return a move of volumes to the least loaded node that takes them and the tasks of all their slots.

    Raises:
        FailedPrecondition: no node does; the message says why.

    """
    rules = [pipeline(task, view, load) for task in _tasks(source, group, view)]
    move = Transfer(id=new_id(rng), volumes=group, source=source.id)
    refused: dict[str, None] = {}
    for each in load.by_total():
        able = each.node is not None and each.id != source.id and each.node.description.volumes
        if able and each.open and all(rule.accepts(each) and not rule.invalid for rule in rules):
            found = replace(move, target=each.id)
            try:
                check(found, view)
            except FailedPrecondition as error:
                refused[error.message] = None
            else:
                return found
    others = dict.fromkeys(rule.invalid or rule.explain(load.nodes.values()) for rule in rules)
    why = "; ".join(list(refused or others)[:_REASONS])
    raise FailedPrecondition(f"no other node can take volume {', '.join(group)}: {why or 'none is ready'}")


def _tasks(source: Node, group: tuple[str, ...], view: View) -> Iterator[Task]:
    """Yield the tasks with this data, of their services' present specifications."""
    slots = {(claim.service, claim.slot) for name in group for claim in claims_on(source.id, name, view)}
    for task in view.tasks.on_node(source.id):
        if task.live and (task.service_name, task.slot) in slots:
            service = view.services.get(task.service_id)
            yield replace(task, spec=service.spec.task_template) if service is not None else task
