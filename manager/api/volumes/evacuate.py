"""POST /nodes/{id}/volumes/move: move all data off a node that slots have there, before it is drained. Not Docker's."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import FailedPrecondition
from common.ids import new_id
from common.model import Node, Task, Transfer
from common.model.client import Role
from common.model.volume import volume_id
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.lookup import find_node
from manager.api.router import Route
from manager.api.volumes.moves import transfer_view
from manager.domain.transfers import check_move, claims_on, moved_together
from manager.domain.volume_claims import in_use
from manager.schedule.filters import pipeline
from manager.schedule.load import ClusterLoad
from manager.store.transaction import Transaction
from manager.store.view import View


async def move_all(context: Context, call: Call) -> Reply:
    """Begin to move what slots have on a node, the smallest first; what is moved already is among the answer."""

    def step(tx: Transaction) -> list[Transfer]:
        node = find_node(tx, call.params["id"])
        begun = [each for each in tx.transfers if each.active and each.source == node.id]
        moving = {name for each in begun for name in each.volumes}
        load = ClusterLoad.of(tx)
        for group in _groups(node, tx):
            if moving.isdisjoint(group):
                target = _choose(node, group, load, tx)
                move = Transfer(id=new_id(context.rng), volumes=group, source=node.id, target=target)
                check_move(move, tx)
                tx.put(move)
                begun.append(move)
        return begun

    begun = await context.store.update(step)
    return Answer(202, [transfer_view(context, each) for each in begun])


def _groups(node: Node, view: View) -> list[tuple[str, ...]]:
    """List the volumes of a node that services have data in, those that move together as one, the smallest first."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for claim in view.volume_claims.on_node(node.id):
        if in_use(claim, view):
            group = moved_together(node.id, claim.volume, view)
            found.setdefault(frozenset(group), group)

    def size(group: tuple[str, ...]) -> int:
        copies = (view.volumes.get(volume_id(node.id, name)) for name in group)
        return sum(max(0, copy.size) for copy in copies if copy is not None)

    return sorted(found.values(), key=lambda group: (size(group), group))


def _choose(source: Node, group: tuple[str, ...], load: ClusterLoad, view: View) -> str:
    """Choose the node with the least to do that takes the tasks of all slots with this data.

    Raises:
        FailedPrecondition: there is none.

    """
    tasks = list(_tasks(source, group, view))
    rules = [pipeline(task, view, load) for task in tasks]
    for each in load.by_total():
        able = each.node is not None and each.id != source.id and each.node.description.volumes
        if able and each.open and all(rule.accepts(each) and not rule.invalid for rule in rules):
            return each.id
    why = "; ".join(dict.fromkeys(rule.invalid or rule.explain(load.nodes.values()) for rule in rules))
    raise FailedPrecondition(f"no other node can take volume {', '.join(group)}: {why or 'none is ready'}")


def _tasks(source: Node, group: tuple[str, ...], view: View) -> Iterator[Task]:
    slots = {(claim.service, claim.slot) for name in group for claim in claims_on(source.id, name, view)}
    for task in view.tasks.on_node(source.id):
        if task.live and (task.service_name, task.slot) in slots:
            yield task


ROUTES = (Route("POST", "/nodes/{id}/volumes/move", move_all, needs=Role.OPERATOR),)
