"""/swarm/volumes: whose data a volume is, said by an operator. Not Docker's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from common.errors import FailedPrecondition, NotFound
from common.model import Task, Volume, VolumeClaim
from common.model.client import Role
from common.model.naming import Model
from common.model.volume import claim_id, volume_id
from common.spec.slot_volumes import slot_volumes
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.lookup import find_node
from manager.api.router import Route
from manager.api.volumes.records import ambiguous
from manager.domain.hostnames import node_name
from manager.domain.volume_claims import holds
from manager.store.transaction import Transaction
from manager.store.view import View

_SLOT = re.compile(r"(?P<service>[^/]+)\.(?P<slot>[1-9][0-9]{0,8})")


class ClaimRequest(Model):
    """`slot`: `SERVICE.NUMBER`, as `service ps` lists it."""

    slot: str = ""


async def release_volume(context: Context, call: Call) -> Reply:
    """Release a volume: no slot waits for it, and the next task may start empty elsewhere. The data stays."""

    def step(tx: Transaction) -> list[str]:
        node_id, name = split_reference(tx, call.params["name"])
        claims = [each for each in tx.volume_claims.named(name) if node_id in ("", each.node_id)]
        if not claims:
            raise NotFound(f"no slot's data is in volume {call.params['name']}")
        for claim in claims:
            tx.remove(claim)
            copy = tx.volumes.get(volume_id(claim.node_id, name))
            if copy is not None and copy.missing_since:
                tx.remove(copy)
            elif copy is not None:
                tx.put(replace(copy, role="left"))
        return sorted(f"{claim.holder} ({node_name(tx, claim.node_id)})" for claim in claims)

    return Answer(value={"Released": await context.store.update(step)})


async def claim_volume(context: Context, call: Call) -> Reply:
    """Say that a slot's data is in a volume of a node: its next task goes there.

    Service and slot need not be there yet: data is restored before the service is deployed, or scaled up. `Warnings`
    say so, as a slip of the pen looks the same.
    """
    match = _SLOT.fullmatch(call.decode(ClaimRequest).slot)
    if match is None:
        raise invalid("invalid Slot: write SERVICE.NUMBER, as 'service ps' lists it")

    def step(tx: Transaction) -> tuple[VolumeClaim, list[str]]:
        node_id, name = split_reference(tx, call.params["name"])
        copies = [each for each in tx.volumes.named(name) if node_id in ("", each.node_id) and not each.missing_since]
        copy = only_copy(tx, call.params["name"], copies)
        service, slot = match["service"], int(match["slot"])
        warnings = list(_why_unused(tx, service, slot, name))
        old = tx.volume_claims.get(claim_id(service, slot, name))
        _refuse_while_used(tx, old, copy.node_id)
        claim = VolumeClaim(
            id=claim_id(service, slot, name),
            service=service,
            slot=slot,
            volume=name,
            node_id=copy.node_id,
            bound=True,
        )
        tx.put(claim)
        tx.put(replace(copy, role=""))
        return claim, warnings

    claim, warnings = await context.store.update(step)
    node = node_name(context.store.view, claim.node_id)
    return Answer(value={"Slot": claim.holder, "Node": node, "Warnings": warnings or None})


def _why_unused(view: View, name: str, slot: int, volume: str) -> Iterator[str]:
    """Say why no task of a slot comes to a volume, as things are.

    Raises:
        InvalidArgument: none ever can: the service is global.

    """
    service = next((each for each in view.services.named(name) if not each.pending_delete), None)
    if service is None:
        yield f"there is no service {name}: one that is created with this name finds the data"
        return
    mode, spec = service.spec.mode, service.spec.task_template
    if mode.is_global:
        raise invalid(f"{name} is global: each of its nodes has a volume of its own, and no slot has one")
    if mode.replicated is not None and slot > mode.replicas and not view.tasks.in_slot(service.id, slot):
        yield f"{name} has no slot {slot}: it finds the data when the service is scaled to {slot}"
    task = Task(service_id=service.id, service_name=name, labels=service.spec.labels, spec=spec, slot=slot)
    mounted = [each.name for each in slot_volumes(task)]
    if volume not in mounted:
        what = f"it mounts {', '.join(mounted)}" if mounted else "it mounts none whose data is a node's"
        yield f"{name}.{slot} does not mount volume {volume}: {what}"


def _refuse_while_used(tx: Transaction, claim: VolumeClaim | None, node_id: str) -> None:
    """Refuse to take a slot's data away from a task that may be writing to it."""
    if claim is None or claim.node_id == node_id or not holds(claim, tx):
        return
    services = tx.services.named(claim.service)
    tasks = (task for service in services for task in tx.tasks.in_slot(service.id, claim.slot))
    running = next((task for task in tasks if task.placed), None)
    if running is not None:
        where = node_name(tx, claim.node_id)
        raise FailedPrecondition(f"{claim.holder} runs on {where} with its data in {claim.volume}: scale it down first")


def split_reference(tx: Transaction, reference: str) -> tuple[str, str]:
    """Split `NODE/NAME` into the node's id, empty when none is named, and the name; of nodes that were removed, too."""
    node, slash, name = reference.rpartition("/")
    if not slash:
        return "", name
    if any(each.node_id == node for each in tx.volume_claims.named(name)):
        return node, name
    return find_node(tx, node).id, name


def only_copy(view: View, reference: str, copies: Sequence[Volume]) -> Volume:
    """Return the one copy of a volume that a reference means.

    Raises:
        NotFound: there is no such claim.
        EngineError: 409, there are several; it says what to write for each.

    """
    if not copies:
        raise NotFound(f"no such volume: {reference}")
    if len(copies) > 1:
        raise ambiguous(reference, ((copy.node_id, copy.name) for copy in copies), view)
    return copies[0]


ROUTES = (
    Route("POST", "/swarm/volumes/{name+}/release", release_volume, needs=Role.OPERATOR),
    Route("POST", "/swarm/volumes/{name+}/claim", claim_volume, needs=Role.OPERATOR),
)
