"""/swarm/volumes/{name}/move, copy and snapshot, /swarm/transfers: volumes that go from node to node. Not Docker's.

POST /nodes/{id}/volumes/move moves all data off a node that slots have there, before it is drained.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from common.clock import rfc3339
from common.errors import FailedPrecondition, NotFound
from common.ids import new_id
from common.model import Transfer, Volume
from common.model.client import Role
from common.model.naming import Model
from common.model.volume import volume_id
from common.wire.volume_copy import VOLUME_NAME
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.lookup import find_node
from manager.api.router import Route
from manager.api.volumes.claims import only_copy, split_reference
from manager.domain.hostnames import node_name
from manager.domain.transfers import check, lineage_of_copy, moved_together
from manager.schedule.evacuation import failed_move, move_off, volume_groups_on
from manager.schedule.load import ClusterLoad
from manager.store.transaction import Transaction
from manager.store.view import View

_HOLDS = ("pause", "stop", "live")


class MoveRequest(Model):
    """`node` is the target's name or id; `max_downtime` in seconds, 0: as long as it takes; `limit` in bytes a second.

    `delete_source`: the old copy is removed once the new one was read back.
    """

    node: str = ""
    max_downtime: float = 0.0
    limit: float = 0.0
    delete_source: bool = False
    dry_run: bool = False


class CopyRequest(Model):
    """`node`: where the copy is to be, the volume's own unless told; `name`: what it is called there.

    `hold`: what becomes of the tasks for the last pass: `pause` (unless told), `stop`, or `live` for nothing.
    The rest as for a move.
    """

    node: str = ""
    name: str = ""
    hold: str = "pause"
    max_downtime: float = 0.0
    limit: float = 0.0
    dry_run: bool = False


async def move_volume(context: Context, call: Call) -> Reply:
    """Begin to move a volume, and those that its slots share with it."""
    wanted = call.decode(MoveRequest)

    def made(tx: Transaction) -> Transfer:
        target = find_node(tx, wanted.node)
        source = _source(tx, call, elsewhere_than=target.id)
        return Transfer(
            id=new_id(context.rng),
            volumes=moved_together(source.node_id, source.name, tx),
            source=source.node_id,
            target=target.id,
            max_downtime=max(0.0, wanted.max_downtime),
            limit=max(0.0, wanted.limit),
            delete_source=wanted.delete_source,
        )

    return await _begin(context, made, dry_run=wanted.dry_run)


async def copy_volume(context: Context, call: Call) -> Reply:
    """Begin to make a volume of another, on the same node or on another one. What has the first one keeps it."""
    wanted = call.decode(CopyRequest)
    if wanted.hold not in _HOLDS:
        raise invalid(f"invalid Hold {wanted.hold[:100]!r}: it is one of {', '.join(_HOLDS)}")

    def made(tx: Transaction) -> Transfer:
        target = find_node(tx, wanted.node).id if wanted.node else ""
        source = _source(tx, call, elsewhere_than=target, old=True)
        target = target or source.node_id
        return Transfer(
            id=new_id(context.rng),
            operation="copy",
            volumes=(source.name,),
            source=source.node_id,
            target=target,
            as_name=(name := _name(wanted.name, source, target, tx)),
            data_id=lineage_of_copy(tx.volumes.get(volume_id(target, name)), context.rng),
            hold=wanted.hold,
            max_downtime=max(0.0, wanted.max_downtime),
            limit=max(0.0, wanted.limit),
        )

    return await _begin(context, made, dry_run=wanted.dry_run)


def _source(tx: Transaction, call: Call, *, elsewhere_than: str, old: bool = False) -> Volume:
    """Find the copy that is meant: the one of its name, of several the one that is not at the target already.

    old: where its node is named, it may be one that was moved away or left behind.

    Raises:
        NotFound: there is none, or more than one.

    """
    reference = call.params["name"]
    node_id, name = split_reference(tx, reference)
    copies = [each for each in tx.volumes.named(name) if node_id in ("", each.node_id)]
    copies = [each for each in copies if each.eligible or (old and node_id)]
    copies = [each for each in copies if node_id or each.node_id != elsewhere_than] or copies
    return only_copy(tx, reference, copies)


def _name(wanted: str, source: Volume, target: str, tx: Transaction) -> str:
    """Return what a copy is called: as it is told, else as its source, on the same node with the time after it."""
    if not wanted and target == source.node_id:
        wanted = f"{source.name}.{re.sub(r'[^0-9]', '', rfc3339(tx.now)[:19])}"
    name = wanted or source.name
    if VOLUME_NAME.fullmatch(name) is None:
        raise invalid(f"{name[:200]!r} is not a valid volume name")
    return name


async def _begin(context: Context, made: Callable[[Transaction], Transfer], *, dry_run: bool) -> Reply:
    def step(tx: Transaction) -> Transfer:
        transfer = made(tx)
        check(transfer, tx)
        if not dry_run:
            tx.put(transfer)
        return transfer

    begun = context.store.try_out(step) if dry_run else await context.store.update(step)
    return Answer(200 if dry_run else 202, transfer_view(context, begun))


async def list_transfers(context: Context, _call: Call) -> Reply:
    return Answer(value=[transfer_view(context, each) for each in context.store.view.transfers])


async def end_transfer(context: Context, call: Call) -> Reply:
    """End a move or a copy that has not come to its commit: tasks run at the source."""

    def step(tx: Transaction) -> None:
        found = tx.transfers.get(call.params["id"])
        if found is None:
            raise NotFound(f"no such move or copy: {call.params['id']}")
        if not found.active:
            raise FailedPrecondition(f"the {found.operation} of volume {found.name} has already ended ({found.phase})")
        tx.put(replace(found, phase="failed", error="cancelled"))

    await context.store.update(step)
    return Answer(204)


def transfer_view(context: Context, transfer: Transfer) -> dict[str, Any]:
    """Render a move or a copy. `Size`: bytes of what is copied, as far as is known."""
    view: View = context.store.view
    gauge = context.soft.transfers.gauges.get(transfer.id)
    far = {} if gauge is None else {"Done": gauge.done, "Left": gauge.left, "Seconds": gauge.seconds}
    copies = [view.volumes.get(volume_id(transfer.source, name)) for name in transfer.volumes]
    sizes = [copy.size for copy in copies if copy is not None and copy.size >= 0]
    return {
        "ID": transfer.id,
        "Kind": transfer.operation,
        "Volumes": list(transfer.volumes),
        "From": node_name(view, transfer.source),
        "To": node_name(view, transfer.target),
        "Name": transfer.as_name or transfer.name,
        "Hold": transfer.hold,
        "Phase": transfer.phase,
        "Error": transfer.error,
        "Note": transfer.note,
        "Downtime": transfer.downtime,
        **({"Size": sum(sizes)} if len(sizes) == len(copies) else {}),
        **far,
    }


async def move_all(context: Context, call: Call) -> Reply:
    """Begin to move what slots have on a node, the smallest first; what is moved already is among the answer.

    So is what no node can take, as a move that has failed.
    """

    def step(tx: Transaction) -> list[Transfer]:
        node = find_node(tx, call.params["id"])
        begun = [each for each in tx.transfers if each.active and each.source == node.id]
        moving = {name for each in begun for name in each.volumes}
        load = ClusterLoad.of(tx)
        for group in volume_groups_on(node, tx):
            if moving.isdisjoint(group):
                try:
                    move = move_off(node, group, load, tx, context.rng)
                except FailedPrecondition as error:
                    move = failed_move(node, group, error.message, tx, context.rng)
                tx.put(move)
                begun.append(move)
        return begun

    begun = await context.store.update(step)
    return Answer(202, [transfer_view(context, each) for each in begun])


ROUTES = (
    Route("POST", "/swarm/volumes/{name+}/move", move_volume, needs=Role.OPERATOR),
    Route("POST", "/swarm/volumes/{name+}/copy", copy_volume, needs=Role.OPERATOR),
    Route("POST", "/swarm/volumes/{name+}/snapshot", copy_volume, needs=Role.OPERATOR),
    Route("GET", "/swarm/transfers", list_transfers, needs=Role.VIEWER),
    Route("DELETE", "/swarm/transfers/{id}", end_transfer, needs=Role.OPERATOR),
    Route("POST", "/nodes/{id}/volumes/move", move_all, needs=Role.OPERATOR),
)
