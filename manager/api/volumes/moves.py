"""/swarm/volumes/{name}/move and /swarm/transfers: moves of volumes from node to node. Not Docker's."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from common.errors import FailedPrecondition, NotFound
from common.ids import new_id
from common.model import Transfer
from common.model.client import Role
from common.model.naming import Model
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.lookup import find_node
from manager.api.router import Route
from manager.api.volumes.claims import split_reference
from manager.domain.transfers import check_move, moved_together
from manager.domain.volumes import node_name
from manager.store.transaction import Transaction
from manager.store.view import View


class MoveRequest(Model):
    """`node` is the target's name or id; `max_downtime` in seconds, 0: as long as it takes."""

    node: str = ""
    max_downtime: float = 0.0
    dry_run: bool = False


async def move_volume(context: Context, call: Call) -> Reply:
    """Begin to move a volume, and those that its slots share with it."""
    wanted = call.decode(MoveRequest)

    def step(tx: Transaction) -> Transfer:
        node_id, name = split_reference(tx, call.params["name"])
        target = find_node(tx, wanted.node)
        copies = [each for each in tx.volumes.named(name) if each.eligible and node_id in ("", each.node_id)]
        copies = [each for each in copies if node_id or each.node_id != target.id] or copies
        if len(copies) != 1:
            raise NotFound(f"no node, or more than one, has volume {call.params['name']}: write NODE/VOLUME")
        source = copies[0].node_id
        made = Transfer(
            id=new_id(context.rng),
            volumes=moved_together(source, name, tx),
            source=source,
            target=target.id,
            max_downtime=max(0.0, wanted.max_downtime),
        )
        check_move(made, tx)
        if not wanted.dry_run:
            tx.put(made)
        return made

    made = context.store.try_out(step) if wanted.dry_run else await context.store.update(step)
    return Answer(200 if wanted.dry_run else 202, transfer_view(context, made))


async def list_transfers(context: Context, _call: Call) -> Reply:
    return Answer(value=[transfer_view(context, each) for each in context.store.view.transfers])


async def end_transfer(context: Context, call: Call) -> Reply:
    """End a move that has not come to its commit: its tasks run at the source."""

    def step(tx: Transaction) -> None:
        found = tx.transfers.get(call.params["id"])
        if found is None:
            raise NotFound(f"no move {call.params['id']}")
        if not found.active:
            raise FailedPrecondition(f"the move of volume {found.name} has ended: {found.phase}")
        tx.put(replace(found, phase="failed", error="ended on request"))

    await context.store.update(step)
    return Answer(204)


def transfer_view(context: Context, transfer: Transfer) -> dict[str, Any]:
    view: View = context.store.view
    gauge = context.transfers.gauges.get(transfer.id)
    far = {} if gauge is None else {"Done": gauge.done, "Left": gauge.left, "Seconds": gauge.seconds}
    return {
        "ID": transfer.id,
        "Volumes": list(transfer.volumes),
        "From": node_name(transfer.source, view),
        "To": node_name(transfer.target, view),
        "Phase": transfer.phase,
        "Error": transfer.error,
        "Downtime": transfer.downtime,
        **far,
    }


ROUTES = (
    Route("POST", "/swarm/volumes/{name+}/move", move_volume, needs=Role.OPERATOR),
    Route("GET", "/swarm/transfers", list_transfers, needs=Role.VIEWER),
    Route("DELETE", "/swarm/transfers/{id}", end_transfer, needs=Role.OPERATOR),
)
