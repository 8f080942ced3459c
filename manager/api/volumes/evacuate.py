"""POST /nodes/{id}/volumes/move: move all data off a node that slots have there, before it is drained. Not Docker's."""

from __future__ import annotations

from common.ids import new_id
from common.model import Transfer
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.lookup import find_node
from manager.api.router import Route
from manager.api.volumes.moves import transfer_view
from manager.domain.transfers import check
from manager.schedule.evacuation import choose_target, groups_on
from manager.schedule.load import ClusterLoad
from manager.store.transaction import Transaction


async def move_all(context: Context, call: Call) -> Reply:
    """Begin to move what slots have on a node, the smallest first; what is moved already is among the answer."""

    def step(tx: Transaction) -> list[Transfer]:
        node = find_node(tx, call.params["id"])
        begun = [each for each in tx.transfers if each.active and each.source == node.id]
        moving = {name for each in begun for name in each.volumes}
        load = ClusterLoad.of(tx)
        for group in groups_on(node, tx):
            if moving.isdisjoint(group):
                target = choose_target(node, group, load, tx)
                move = Transfer(id=new_id(context.rng), volumes=group, source=node.id, target=target)
                check(move, tx)
                tx.put(move)
                begun.append(move)
        return begun

    begun = await context.store.update(step)
    return Answer(202, [transfer_view(context, each) for each in begun])


ROUTES = (Route("POST", "/nodes/{id}/volumes/move", move_all, needs=Role.OPERATOR),)
