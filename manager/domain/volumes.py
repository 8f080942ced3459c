"""Where a task may be for its data, and what its placement means for that. Pure.

The store knows each copy of a volume (`Volume`) and which slot's data is on which node (`VolumeClaim`). A task goes to
its data; it starts elsewhere, on an empty volume, only where its service's policy is `fresh`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from msgspec.structs import replace

from common.clock import to_the_second
from common.model import StoredObject, Task, Transfer, Volume, VolumeClaim
from common.model.volume import TaskVolume, volume_id
from common.spec.constraints import unmet
from common.spec.slot_volumes import SlotVolume, snapshot_name, stopped_sources
from manager.domain.hostnames import node_name
from manager.domain.volume_claims import Claims, has_volume, holders, in_use, is_fresh, new_claim
from manager.store.view import View

LEFT = "left"
_AWAY = {"drain": "drained", "pause": "paused"}


@dataclass(frozen=True, slots=True)
class Anywhere:
    """The slot has no data that binds it. `alone`: what is placed next is to be placed with this in view.

    `unfit`: the nodes where a volume of its name is not to be used, and `volume` is one that is why.
    """

    alone: bool = False
    unfit: frozenset[str] = frozenset()
    volume: str = ""


@dataclass(frozen=True, slots=True)
class Only:
    """The data of `volume` is on this node."""

    node_id: str
    volume: str


@dataclass(frozen=True, slots=True)
class Nowhere:
    """The data cannot be had; `reason` says where it is and what to do."""

    reason: str


Places: TypeAlias = Anywhere | Only | Nowhere


# --- where a task may be ---


def places(task: Task, claims: Claims) -> Places:
    """Say where a task that is to be placed may be for its data, and for snapshots that are made before.

    Of one that has its node already (of a global service, or moving to a node that was chosen for it) that is there.
    """
    where = place_of_data(task, claims)
    if isinstance(where, Only) and claims.snapshots(task):
        missing = (_waits_for_snapshot(task, name, where.node_id, claims.view) for name in stopped_sources(task))
        if reason := next(filter(None, missing), ""):
            return Nowhere(reason)
    if not task.node_id or isinstance(where, Nowhere):
        return where
    if isinstance(where, Only) and where.node_id != task.node_id:
        return Nowhere(waits_elsewhere(where.volume, where.node_id, claims.view))
    if isinstance(where, Anywhere) and task.node_id in where.unfit:
        return Nowhere(is_unfit(where.volume, task.node_id, claims.view))
    return Only(task.node_id, "")


def place_of_data(task: Task, claims: Claims) -> Places:
    """Say where a task that is to be placed may be for its data alone."""
    wanted, snapshots = claims.wants(task)
    if not wanted and not snapshots:
        return Anywhere()
    where = _places(task, wanted, snapshots, claims)
    if isinstance(where, Only) and claims.leaving():
        names = (*(each.name for each in wanted), *snapshots)
        if reason := next(filter(None, (_moving(where.node_id, name, claims) for name in names)), ""):
            return Nowhere(reason)
    return where


def _places(task: Task, wanted: tuple[SlotVolume, ...], snapshots: tuple[str, ...], claims: Claims) -> Places:
    tied: dict[str, str] = {}  # node → the volume that is there
    choices: list[tuple[SlotVolume, dict[str, bool]]] = []
    for each in wanted:
        claim = claims.get(task.service_name, task.slot, each.name)
        if claim is None:
            if copies := _choices(task, each, claims):
                choices.append((each, copies))
        elif not _may_leave(task, claim, claims.view):
            if reason := _unavailable(claim, claims) or _still_held(task, claim, claims.view):
                return Nowhere(reason)
            tied.setdefault(claim.node_id, each.name)
    if snapshots:
        sources = [(SlotVolume(name), dict.fromkeys(_nodes_with(task, name, claims), True)) for name in snapshots]
        if reason := _unclear_sources(sources, claims.view):
            return Nowhere(reason)
        choices += sources
    if tied:
        return _where_tied(tied, choices, claims.view)
    if choices:
        return _choose(task, choices, claims)
    unfit = {each.name: claims.unfit_nodes(each.name) | _leaving(each.name, claims) for each in wanted}
    nodes = frozenset[str]().union(*unfit.values())
    alone = bool(nodes) or any(each.scope == "one" for each in wanted)
    return Anywhere(alone, nodes, next((name for name, found in unfit.items() if found), ""))


def _nodes_with(task: Task, name: str, claims: Claims) -> set[str]:
    """Return the nodes with the data of which a task mounts a snapshot, slots' data first, within its constraints."""
    view = claims.view
    nodes = {claim.node_id for claim in claims.named(name) if in_use(claim, view)}
    nodes = nodes or {copy.node_id for copy in view.volumes.named(name) if copy.eligible and not copy.shared}
    found = ((node_id, view.nodes.get(node_id)) for node_id in nodes)
    return {node_id for node_id, node in found if node is not None and not unmet(task.spec.placement, node)}


def _unclear_sources(sources: Iterable[tuple[SlotVolume, Collection[str]]], view: View) -> str:
    """Say of what it is not clear where a snapshot is to be made; empty where it is of all."""
    for source, nodes in sources:
        if not nodes:
            return f"waits for volume {source.name}, of which it mounts a snapshot: no node that it may be on has it"
        if len(nodes) > 1:
            listed = ", ".join(sorted(node_name(view, node_id) for node_id in nodes))
            return f"volume {source.name} is on {listed}: say of which one the snapshot is to be, with a constraint"
    return ""


def has_snapshot(task: Task, source: str, node_id: str, view: View) -> bool:
    """Whether a node has the snapshot of a volume that was made for a task."""
    copy = view.volumes.get(volume_id(node_id, snapshot_name(task.id, source)))
    return copy is not None and not copy.missing_since and not copy.partial


def snapshot_copies(task: Task, source: str, view: View) -> list[Transfer]:
    """List what makes, or was to make, a task's snapshot of a volume."""
    return [each for each in view.transfers if each.task == task.id and source in each.volumes]


def _waits_for_snapshot(task: Task, source: str, node_id: str, view: View) -> str:
    """Say that a snapshot is made for a task, or why not; empty when it is there."""
    if has_snapshot(task, source, node_id, view):
        return ""
    found = snapshot_copies(task, source, view)
    last = max(found, key=lambda each: (each.active, each.updated_at), default=None)
    if last is not None and last.phase == "failed":
        return f"the snapshot of volume {source} cannot be made: {last.error}. That is tried again every minute"
    return f"waits for a snapshot of volume {source}, for which the tasks that write to it stop"


def _where_tied(tied: dict[str, str], choices: list[tuple[SlotVolume, dict[str, bool]]], view: View) -> Only | Nowhere:
    """Keep to the node that some of the data is on, where all of it is, or nobody has the rest."""
    if len(tied) > 1:
        return _apart(tied, view)
    ((node_id, volume),) = tied.items()
    for each, copies in choices:
        if node_id not in copies:
            return _apart({node_id: volume, min(copies): each.name}, view)
    return Only(node_id, volume)


def _may_leave(task: Task, claim: VolumeClaim, view: View) -> bool:
    """Whether a slot may start empty elsewhere: by its policy, when its data's node is away."""
    if not is_fresh(task, view):
        return False
    node = view.nodes.get(claim.node_id)
    copy = view.volumes.get(volume_id(claim.node_id, claim.volume))
    gone = copy is not None and bool(copy.missing_since)
    return gone or node is None or node.status.state == "down" or node.spec.availability == "drain"


def _unavailable(claim: VolumeClaim, claims: Claims) -> str:
    """Say why claimed data cannot be had even where it is; empty where that is the scheduler's to find out."""
    view = claims.view
    if view.nodes.get(claim.node_id) is None:
        return f"volume {claim.volume} was on node {claim.node_id}, which was removed: {_restore_or_release(claim)}"
    if claims.leaving() and (moving := _moving(claim.node_id, claim.volume, claims)):
        return moving
    copy = view.volumes.get(volume_id(claim.node_id, claim.volume))
    if copy is None or not copy.missing_since:
        return ""
    node, when = node_name(view, claim.node_id), to_the_second(copy.missing_since)
    return f"volume {claim.volume} was removed on {node} at {when}, not by the cluster: {_restore_or_release(claim)}"


def _restore_or_release(claim: VolumeClaim) -> str:
    return f"restore it, or swarm-manager volume release {claim.volume} to start empty"


def _leaving(volume: str, claims: Claims) -> frozenset[str]:
    """Name the nodes from which a volume goes in a last pass: who may go elsewhere does not write to it there."""
    return frozenset(each.source for each in claims.leaving() if volume in each.volumes)


def _moving(node_id: str, volume: str, claims: Claims) -> str:
    for each in claims.leaving():
        if each.source == node_id and volume in each.volumes:
            way = f"from {node_name(claims.view, each.source)} to {node_name(claims.view, each.target)}"
            return f"volume {volume} is {each.participle} {way}: the last pass"
    return ""


def _still_held(task: Task, claim: VolumeClaim, view: View) -> str:
    """Return why a service waits for a task of a removed one of the same name that has not ended; empty if none.

    Those of the task's own service are waited for before it is started.
    """
    last = view.tasks.get(claim.task_id)
    if last is not None and last.service_id == task.service_id:
        return ""
    name, slot = task.service_name, task.slot
    for other in view.tasks.on_node(claim.node_id):
        same = other.service_name == name and other.slot == slot
        if same and other.service_id != task.service_id and other.placed:
            where = node_name(view, other.node_id)
            return f"waits for volume {claim.volume}: task {other.name} of the removed service still stops on {where}"
    return ""


def _choices(task: Task, wanted: SlotVolume, claims: Claims) -> dict[str, bool]:
    """Return the nodes with data that a slot without any is to take, and whether another service uses it there."""
    if wanted.scope == "one":
        ours = {claim.node_id: True for claim in claims.named(wanted.name) if claim.service == task.service_name}
        if ours:
            return ours
    found = claims.open_copies(task.service_name, wanted.name)
    if shared := {node_id: True for node_id, used in found.items() if used}:
        return shared
    if found:
        return dict(found)
    return {
        claim.node_id: True
        for claim in claims.named(wanted.name)
        if claim.service != task.service_name and in_use(claim, claims.view)
    }


def _choose(task: Task, choices: list[tuple[SlotVolume, dict[str, bool]]], claims: Claims) -> Places:
    common = set.intersection(*(set(copies) for _, copies in choices))
    if not common:
        return _apart({min(copies): each.name for each, copies in choices}, claims.view)
    view = claims.view
    names = sorted((node_name(view, node_id), node_id) for node_id in common)
    each, copies = choices[0]
    unused = [node_id for node_id in common if not copies[node_id]]
    if len(common) > 1 and len(unused) > _slots_left(task, each, claims):
        listed = ", ".join(name for name, _ in names)
        command = f"swarm-manager volume claim NODE/{each.name} {task.service_name}.{task.slot}"
        return Nowhere(f"volume {each.name} is on {listed}, and nobody has said which one is meant: {command}")
    ready = [node_id for _, node_id in names if _is_up(node_id, view)]
    return Only((ready or [names[0][1]])[0], each.name)


def _slots_left(task: Task, wanted: SlotVolume, claims: Claims) -> int:
    """Return how many slots of a task's service have no data yet, this one included."""
    service = claims.view.services.get(task.service_id)
    mode = service.spec.mode if service is not None else None
    slots = mode.replicated_job.at_once if mode is not None and mode.replicated_job is not None else 1
    slots = mode.replicas if mode is not None and mode.replicated is not None else slots
    own = sum(claim.service == task.service_name for claim in claims.named(wanted.name))
    return max(1, slots - own)


def _is_up(node_id: str, view: View) -> bool:
    node = view.nodes.get(node_id)
    return node is not None and node.status.state == "ready" and node.spec.availability == "active"


def _apart(where: dict[str, str], view: View) -> Nowhere:
    if len(where) < 2:  # volumes on several nodes of which one was named for several
        return Nowhere("no node has all of its volumes: move them to one")
    (one, first), (other, second) = list(where.items())[:2]
    text = f"no node has both {first} ({node_name(view, one)}) and {second} ({node_name(view, other)}): move one"
    return Nowhere(text)


def waits_elsewhere(volume: str, node_id: str, view: View) -> str:
    """Say where the data is that a task cannot have where it is to be."""
    return f"waits for volume {volume}, which is on {node_name(view, node_id)}"


def is_unfit(volume: str, node_id: str, view: View) -> str:
    """Say why a slot without data does not get the volume that is on a node."""
    where = node_name(view, node_id)
    return f"volume {volume} on {where} is old or not whole: swarm-manager volume rm {where}/{volume} makes room"


def waits_for(volume: str, node_id: str, view: View) -> str:
    """Say why a task cannot be where its data is, as far as its node's state is why; empty where it is not."""
    node = view.nodes.get(node_id)
    if node is None:
        return ""
    why = ""
    if not node.agent:
        why = "has no worker"
    elif node.status.state == "down":
        why = f"is down since {to_the_second(node.updated_at)}"
    elif node.spec.availability != "active":
        why = f"is {_AWAY.get(node.spec.availability, node.spec.availability)}: make it active"
        why += f", or swarm-manager volume move {volume} NODE" if node.status.state == "ready" else ""
    elif node.status.state != "ready":
        why = f"is {node.status.state}"
    return f"waits for volume {volume} on {node.name or node_id}, which {why}" if why else ""


# --- what follows from a placement ---


def settle(task: Task, claims: Claims) -> tuple[Task, tuple[StoredObject, ...]] | None:
    """Give a task that was placed its data, and its slot the claims; None where its data is not on its node any more.

    What is returned beside the task is to be put in the same transaction.
    """
    view = claims.view
    if not task.node_id or not claims.concern(task):
        return task, ()
    where = places(replace(task, node_id=""), claims)
    if isinstance(where, Nowhere) or (isinstance(where, Only) and where.node_id != task.node_id):
        return None
    if isinstance(where, Anywhere) and task.node_id in where.unfit:
        return None
    found: list[StoredObject] = []
    data: list[TaskVolume] = []
    for each in claims.wanted(task):
        old = claims.get(task.service_name, task.slot, each.name)
        copy = view.volumes.get(volume_id(task.node_id, each.name))
        there = copy is not None and not copy.missing_since
        if old is None or old.node_id != task.node_id:
            found.append(claim := new_claim(task, each.name, bound=there))
            claims.add(claim)
            found.extend(_left_behind(old, view))
            found.extend(_begun_anew(copy, view))
        elif not old.bound or old.task_id != task.id:
            found.append(replace(old, task_id=task.id, bound=old.bound or there or has_volume(old, view)))
        if copy is not None and there and copy.data_id:
            data.append(TaskVolume(name=each.name, data_id=copy.data_id, generation=copy.generation))
    return replace(task, volumes=tuple(data)), tuple(found)


def _left_behind(old: VolumeClaim | None, view: View) -> Iterator[Volume]:
    """Yield the copy that a slot leaves behind when it starts empty elsewhere: it is kept, and never chosen again."""
    copy = view.volumes.get(volume_id(old.node_id, old.volume)) if old is not None else None
    others = view.volume_claims.named(old.volume) if old is not None else ()
    if old is not None and copy is not None and not any(_shares(claim, old) for claim in others):
        yield replace(copy, role=LEFT)


def _begun_anew(copy: Volume | None, view: View) -> Iterator[Volume]:
    """Yield the record of data that is missing where a slot begins without it, as only gone services had data in it."""
    if copy is not None and copy.missing_since and not holders(copy.node_id, copy.name, view):
        yield replace(copy, data_id="", generation=0, role="")


def _shares(claim: VolumeClaim, with_: VolumeClaim) -> bool:
    return claim.id != with_.id and claim.node_id == with_.node_id
