"""What a host's report of its volumes makes of the records of its copies and of the claims to them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from common.model import Volume, VolumeClaim
from common.model.volume import volume_id
from common.spec.volumes import is_shared
from common.wire.volume_copy import SeenVolume
from manager.domain.volume_claims import holds, is_claimed
from manager.store.changes import Decision
from manager.store.view import View


@dataclass(frozen=True, slots=True)
class Inventory:
    """All named volumes that a node says it has. `cut`: it has more than it may say, and nothing is known of those."""

    node_id: str
    volumes: tuple[SeenVolume, ...]
    cut: bool = False


def decide(inventory: Inventory, view: View, now: float) -> Decision:
    """Return what is to be written.

    The record of a copy that no longer exists is removed, unless a slot's data was in it, even of a removed service:
    then the record says since when it is missing, and a task that comes for the data waits. So does that of a copy in
    whose place there is other data by the same name.
    """
    put: list[Volume | VolumeClaim] = []
    remove: list[Volume] = []
    seen = {each.name: each for each in inventory.volumes}
    for each in seen.values():
        old = view.volumes.get(volume_id(inventory.node_id, each.name))
        lost = None if old is not None else _of_removed_node(inventory.node_id, each, view)
        if lost is not None:
            remove.append(lost)
            put += _moved_claims(lost, inventory.node_id, view)
        new = _record(inventory.node_id, each, old, view, now)
        if new != old:
            put.append(new)
        if not new.missing_since and not new.partial:
            put += _bound(inventory.node_id, each.name, view)
    for old in () if inventory.cut else view.volumes.on_node(inventory.node_id):
        if old.name in seen:
            continue
        if not is_claimed(old.node_id, old.name, view):
            remove.append(old)
        elif not old.missing_since:
            put.append(replace(old, missing_since=now))
    return Decision(put=tuple(put), remove=tuple(remove))


def _record(node_id: str, seen: SeenVolume, old: Volume | None, view: View, now: float) -> Volume:
    """Return the record of a volume that a node has."""
    base = old or Volume(id=volume_id(node_id, seen.name), name=seen.name, node_id=node_id)
    other = bool(base.data_id and seen.data_id and base.data_id != seen.data_id)
    older = not other and seen.generation < base.generation
    if (other or older) and is_claimed(node_id, seen.name, view):
        return base if base.missing_since else replace(base, missing_since=now)
    return replace(
        base,
        data_id=seen.data_id or base.data_id,
        generation=seen.generation if other else max(seen.generation, base.generation),
        role="" if other else base.role,
        driver=seen.driver,
        options=seen.options,
        labels=seen.labels,
        shared=is_shared(seen.driver, seen.options, seen.scope),
        size=seen.size if seen.size >= 0 else base.size,
        missing_since=0.0,
    )


def _bound(node_id: str, name: str, view: View) -> Iterator[VolumeClaim]:
    """Yield the claims that count for good now, as the engine has the volume."""
    for claim in view.volume_claims.named(name):
        if claim.node_id == node_id and not claim.bound and holds(claim, view):
            yield replace(claim, bound=True)


def _of_removed_node(node_id: str, seen: SeenVolume, view: View) -> Volume | None:
    """Return the record of the same data on a node that was removed: its host has joined again as another.

    A node that had joined before that was seen last is another host: it may have had the data once, and be lying.
    """
    node = view.nodes.get(node_id)
    if not seen.data_id or node is None:
        return None
    copies: Collection[Volume] = view.volumes.named(seen.name)
    same = (each for each in copies if each.data_id == seen.data_id and each.generation <= seen.generation)
    return next((each for each in same if each.node_id not in view.nodes and each.updated_at <= node.created_at), None)


def _moved_claims(lost: Volume, node_id: str, view: View) -> Iterator[VolumeClaim]:
    for claim in view.volume_claims.named(lost.name):
        if claim.node_id == lost.node_id:
            yield replace(claim, node_id=node_id)
