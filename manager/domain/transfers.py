"""Moves and copies of volumes: what goes together, what keeps one from being begun, what its commit writes. Pure.

How far each is, is in memory: that is not worth a write of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from common.errors import FailedPrecondition
from common.model import StoredObject, Task, Transfer, Volume, VolumeClaim
from common.model.volume import new_lineage, volume_id
from common.spec import extensions
from common.spec.constraints import unmet
from common.spec.slot_volumes import named_mounts, slot_volumes
from common.spec.volumes import scope_of, snapshot_of
from common.wire.volume_copy import MOST_GENERATIONS
from manager.domain.hostnames import node_name
from manager.domain.volume_claims import RETIRED, holds, moves_with_drain
from manager.store.view import View

ENDED = "it was ended meanwhile"


def transfer_limit(view: View) -> int:
    """Return the default limit of moves and copies in bytes a second; 0: unlimited."""
    cluster = next(iter(view.clusters), None)
    return extensions.read_cluster(cluster.spec.labels).transfer_limit if cluster is not None else 0


def moved_together(node_id: str, name: str, view: View) -> tuple[str, ...]:
    """Name the volumes of a node that move with one: all of the slots that share it, and what these share again."""
    found, left = {name}, [name]
    while left:
        slots = {(claim.service, claim.slot) for claim in claims_on(node_id, left.pop(), view)}
        for claim in view.volume_claims.on_node(node_id):
            if (claim.service, claim.slot) in slots and claim.volume not in found and holds(claim, view):
                found.add(claim.volume)
                left.append(claim.volume)
    return (name, *sorted(found - {name}))


def claims_on(node_id: str, name: str, view: View) -> Iterator[VolumeClaim]:
    """Yield the claims to a copy that count."""
    for claim in view.volume_claims.named(name):
        if claim.node_id == node_id and holds(claim, view):
            yield claim


def check(transfer: Transfer, view: View) -> None:
    """Refuse a move or a copy that cannot be.

    Raises:
        FailedPrecondition: says why, and what to do.

    """
    if waits := not_ready(transfer, view):
        raise FailedPrecondition(waits)
    source, target = (view.nodes.get(node_id) for node_id in (transfer.source, transfer.target))
    assert source is not None, "it is ready"
    assert target is not None, "it is ready"
    newer = transfer.operation == "copy" or transfer.delete_source
    for node in (source, target):
        if not (node.description.snapshots if newer else node.description.volumes):
            raise FailedPrecondition(f"the worker of node {node_name(view, node.id)} is too old to copy volumes")
    if transfer.operation == "copy":
        _check_copy(transfer, view)
        return
    if transfer.source == transfer.target:
        raise FailedPrecondition(f"volume {transfer.name} is on node {target.name} already")
    _check_group(transfer, view)
    for name in transfer.volumes:
        _check_volume(transfer, name, view)
        for claim in claims_on(transfer.source, name, view):
            for service in view.services.named(claim.service):
                if broken := unmet(service.spec.task_template.placement, target):
                    raise FailedPrecondition(f"{claim.holder} may not be on node {target.name}: {broken}")


def not_ready(transfer: Transfer, view: View) -> str:
    """Say which of the two nodes is not ready, for now; empty if both are."""
    for node_id in (transfer.source, transfer.target):
        node = view.nodes.get(node_id)
        if node is None:
            return f"node {node_id} is not in the cluster"
        if node.status.state != "ready":
            return f"node {node_name(view, node_id)} is {node.status.state}"
    return ""


def _check_group(transfer: Transfer, view: View) -> None:
    """Refuse to part what belongs together since a slot came that has these volumes and others."""
    if set(moved_together(transfer.source, transfer.name, view)) != set(transfer.volumes):
        names = ", ".join(transfer.volumes)
        raise FailedPrecondition(f"other tasks share {names} now, and have further volumes: begin the move again")


def _check_volume(transfer: Transfer, name: str, view: View) -> None:
    _check_target(transfer, _check_source(transfer, name, view), view)
    _check_others(transfer, name, view)


def _check_others(transfer: Transfer, name: str, view: View) -> None:
    """Refuse to stop the tasks of slots while others write to the volume, which do not stop."""
    for task in view.tasks.on_node(transfer.source):
        mounts = (
            mount for mount in named_mounts(task.spec.container_spec) if not (task.slot and scope_of(mount) == "slot")
        )
        written = {mount.source for mount in mounts if not snapshot_of(mount)}
        if task.placed and name in written - {each.name for each in slot_volumes(task)}:
            raise FailedPrecondition(
                f"task {task.name} writes to volume {name}, too, and is not stopped by a {transfer.operation}: "
                "stop it first"
            )


def _check_copy(transfer: Transfer, view: View) -> None:
    _check_source(transfer, transfer.name, view)
    if transfer.stops_tasks:
        _check_others(transfer, transfer.name, view)
    there = view.volumes.get(volume_id(transfer.target, transfer.as_name))
    if there is not None and there.data_id != transfer.data_id:
        where = node_name(view, transfer.target)
        there_is = f"node {where} has a volume {transfer.as_name} already"
        raise FailedPrecondition(
            f"{there_is}: choose another name, or swarm-manager volume rm {where}/{transfer.as_name}"
        )


def _check_source(transfer: Transfer, name: str, view: View) -> Volume:
    copy = view.volumes.get(volume_id(transfer.source, name))
    if copy is None or copy.missing_since or not copy.data_id:
        where = node_name(view, transfer.source)
        raise FailedPrecondition(f"volume {name} on {where} has no mark that identifies its data: does it still exist?")
    if not copy.generation:
        raise FailedPrecondition(f"volume {name} is incomplete: the copy or restore that was making it did not finish")
    if copy.generation >= MOST_GENERATIONS:
        raise FailedPrecondition(
            f"volume {name} claims to have been moved {copy.generation} times, which is impossible"
        )
    if copy.shared or copy.driver != "local" or copy.options:
        raise FailedPrecondition(
            f"volume {name} cannot be copied: only volumes of the driver local without options can"
        )
    for other in view.transfers:
        same = other.active and other.id != transfer.id and name in other.volumes
        if same and "move" in (other.operation, transfer.operation):
            raise FailedPrecondition(f"volume {name} is being {other.participle} already")
    return copy


def _check_target(transfer: Transfer, copy: Volume, view: View) -> None:
    name, where = copy.name, node_name(view, transfer.target)
    there = view.volumes.get(volume_id(transfer.target, name))
    if there is not None and there.data_id != copy.data_id:
        remove = f"swarm-manager volume rm {where}/{name}"
        raise FailedPrecondition(f"node {where} has a different volume {name}: choose another node, or {remove}")
    marked = transfer.phase == "last" and there is not None and there.generation == copy.generation + 1
    if there is not None and there.generation > copy.generation and not there.missing_since and not marked:
        raise FailedPrecondition(
            f"node {where} has a newer copy of volume {name}: a move was almost finished, or the manager was restored "
            f"from an earlier backup: swarm-manager volume rm {where}/{name} removes that copy, "
            f"swarm-manager volume claim {where}/{name} SERVICE.SLOT uses it"
        )
    for claim in claims_on(transfer.target, name, view):
        raise FailedPrecondition(f"node {where} is to have the volume {name} of {claim.holder}: choose another node")


def stays_behind(task: Task, view: View) -> str:
    """Say why a task runs on where it is to leave: its data cannot be moved off a drained node; empty otherwise."""
    node, service = view.nodes.get(task.node_id), view.services.get(task.service_id)
    if node is None or node.spec.availability != "drain" or not task.live:
        return ""
    if service is None or not moves_with_drain(service):
        return ""
    names = {each.name for each in slot_volumes(task)}
    found = [each for each in view.transfers if each.source == node.id and not names.isdisjoint(each.volumes)]
    last = max(found, key=lambda each: (each.active, each.updated_at), default=None)
    if last is None or last.phase != "failed":
        return ""
    name = node.name or node.id
    return (
        f"node {name} is drained, but volume {last.name} cannot be moved off it: {last.error}. The move is tried "
        f"again every minute: make room on another node, or make {name} active"
    )


def ended_moves(view: View, kept: int) -> list[Transfer]:
    """List the records of moves and copies that have ended, but the `kept` newest ones."""
    ended = sorted((each for each in view.transfers if not each.active), key=lambda each: each.updated_at)
    return ended[: max(0, len(ended) - kept)]


def lineage_of_copy(there: Volume | None, rng: Random) -> str:
    """Return the lineage of a new volume: that of one which a copy has left unfinished, or a new one."""
    unfinished = there is not None and there.data_id and not there.generation
    return there.data_id if there is not None and unfinished else new_lineage(rng)


def transfer_under_way(node_id: str, name: str, view: View) -> Transfer | None:
    """Return the active move or copy that reads or makes a volume of a node; None if there is none."""
    for transfer in view.transfers:
        reads = transfer.source == node_id and name in transfer.volumes
        makes = transfer.target == node_id and name in transfer.arriving
        if transfer.active and (reads or makes):
            return transfer
    return None


def is_stopped(node_id: str, name: str, view: View) -> bool:
    """Whether the tasks with a volume of a node are to stand still now, for the last pass of a move or a copy."""
    return any(
        transfer.phase == "last" and transfer.source == node_id and name in transfer.volumes
        for transfer in view.transfers
    )


def users(transfer: Transfer, view: View) -> list[Task]:
    """List the tasks that may still write to what is moved, whether their slots have claims to it or not."""
    moved = set(transfer.volumes)
    tasks = (task for task in view.tasks.on_node(transfer.source) if task.placed)
    return [task for task in tasks if any(each.name in moved for each in slot_volumes(task))]


def commit(transfer: Transfer, view: View, now: float) -> tuple[StoredObject, ...]:
    """Return what makes the target the place of the data; from then on only it counts.

    Raises:
        FailedPrecondition: the move was ended meanwhile, or the source is not what it was.

    """
    latest = view.transfers.get(transfer.id)
    if latest is None or latest.phase != "last":
        raise FailedPrecondition(ENDED)
    _check_group(transfer, view)
    found: list[StoredObject] = []
    named = (claim for name in transfer.volumes for claim in view.volume_claims.named(name))
    claims = [claim for claim in named if claim.node_id == transfer.source]
    for name in transfer.volumes:
        copy = view.volumes.get(volume_id(transfer.source, name))
        if copy is None:
            raise FailedPrecondition(f"volume {name} is no longer known on its node")
        found.append(replace(copy, role=RETIRED))
        found.append(arrived(transfer.target, copy, view))
    found += [replace(claim, node_id=transfer.target, bound=True) for claim in claims]
    found.append(replace(latest, phase="done", downtime=now - latest.stopped_at if claims else 0.0))
    return tuple(found)


def commit_copy(transfer: Transfer, view: View, held: float, now: float) -> tuple[StoredObject, ...]:
    """Return what makes a copy known; held: for how many seconds tasks were paused for it.

    Raises:
        FailedPrecondition: it was ended meanwhile, or the source is no longer known.

    """
    latest = view.transfers.get(transfer.id)
    if latest is None or not latest.active:
        raise FailedPrecondition(ENDED)
    copy = view.volumes.get(volume_id(transfer.source, transfer.name))
    if copy is None:
        raise FailedPrecondition(f"volume {transfer.name} is no longer known on its node")
    made = replace(copy, name=transfer.as_name, data_id=transfer.data_id)
    stopped = now - latest.stopped_at if any(claims_on(transfer.source, transfer.name, view)) else 0.0
    downtime = stopped if latest.stopped_at else held
    return arrived(transfer.target, made, view), replace(latest, phase="done", downtime=downtime)


def arrived(node_id: str, copy: Volume, view: View) -> Volume:
    """Return the record of data that has come to a node, one generation newer than `copy`."""
    known = view.volumes.get(volume_id(node_id, copy.name))
    base = known or Volume(id=volume_id(node_id, copy.name), name=copy.name, node_id=node_id)
    return replace(
        base, data_id=copy.data_id, generation=copy.generation + 1, role="", size=copy.size, missing_since=0.0
    )


@dataclass(slots=True)
class Gauge:
    """Bytes that were, and are to be, read in this pass, the seconds until its end, and the passes made before."""

    done: int = 0
    left: int = 0
    seconds: float = 0.0
    passes: int = 0


@dataclass(slots=True)
class TransferProgress:
    """The gauges of moves under way on this manager, by the moves' ids."""

    gauges: dict[str, Gauge] = field(default_factory=dict)
