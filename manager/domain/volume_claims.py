"""Which slot's data is on which node: what claims to volumes count for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from common.model import Service, Task, TaskState, Transfer, VolumeClaim
from common.model.service import TaskSpec
from common.model.volume import claim_id, volume_id
from common.spec.slot_volumes import SlotVolume, differ_by_slot, slot_volumes, snapshot_sources
from common.spec.volumes import POLICY_LABEL, WRITERS_LABEL
from manager.store.view import View

RETIRED = "retired"
# States in which a task's engine has made its container, and with it the volumes, whatever was said of that.
_WITH_CONTAINER = frozenset({TaskState.STARTING, TaskState.RUNNING, TaskState.COMPLETE})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What tasks with a specification want of volumes; None where that is another for each slot."""

    spec: TaskSpec  # kept, so that no other has its address
    has_slot: bool
    volumes: tuple[SlotVolume, ...] | None
    snapshots: tuple[str, ...] | None


_NOTHING = _Wanted(TaskSpec(), False, (), ())


@dataclass(slots=True)
class Claims:
    """The claims of a view, and those that a decision under way adds to it."""

    view: View
    _added: dict[str, VolumeClaim] = field(default_factory=dict)
    _open: dict[tuple[str, str], dict[str, bool]] = field(default_factory=dict)
    _unfit: dict[str, frozenset[str]] = field(default_factory=dict)
    _wanted: dict[tuple[int, bool], _Wanted] = field(default_factory=dict)
    _latest: _Wanted = _NOTHING  # a task is asked for again and again before the next one
    _leaving: tuple[Transfer, ...] | None = None
    _found: tuple[str, VolumeClaim | None] = ("", None)  # likewise a slot's claim, by its id

    def get(self, service: str, slot: int, volume: str) -> VolumeClaim | None:
        """Return a slot's claim, if it counts."""
        key = claim_id(service, slot, volume)
        if key != self._found[0]:
            found = self._added.get(key) or self.view.volume_claims.get(key)
            self._found = key, found if found is not None and holds(found, self.view) else None
        return self._found[1]

    def named(self, volume: str) -> Iterator[VolumeClaim]:
        """Yield all claims of volumes with a name that count."""
        for claim in self.view.volume_claims.named(volume):
            if claim.id not in self._added and holds(claim, self.view):
                yield claim
        for claim in self._added.values():
            if claim.volume == volume:
                yield claim

    def concern(self, task: Task) -> bool:
        """Whether a task has volumes, or snapshots of some, that say where it may be."""
        known = self._known(task)
        if known.volumes is not None:
            return bool(known.volumes or known.snapshots)
        return bool(slot_volumes(task) or snapshot_sources(task))

    def wants(self, task: Task) -> tuple[tuple[SlotVolume, ...], tuple[str, ...]]:
        """Return a task's volumes as `bound_volumes` does, and those of which it mounts snapshots."""
        known = self._known(task)
        volumes, snapshots = known.volumes, known.snapshots
        if volumes is None or snapshots is None:
            volumes, snapshots = slot_volumes(task), snapshot_sources(task)
        if volumes and task.node_id:
            volumes = _bound(volumes, task.node_id, self.view)
        return volumes, snapshots

    def wanted(self, task: Task) -> tuple[SlotVolume, ...]:
        """List a task's volumes as `bound_volumes` does, from what is known of its specification."""
        return self.wants(task)[0]

    def snapshots(self, task: Task) -> tuple[str, ...]:
        """Name the volumes of which a task mounts snapshots, as `snapshot_sources` does."""
        found = self._known(task).snapshots
        return snapshot_sources(task) if found is None else found

    def volumes(self, task: Task) -> tuple[SlotVolume, ...]:
        """List a task's volumes as `slot_volumes` does, from what is known of its specification."""
        found = self._known(task).volumes
        return slot_volumes(task) if found is None else found

    def _known(self, task: Task) -> _Wanted:
        spec, has_slot = task.spec, task.slot != 0
        if self._latest.spec is spec and self._latest.has_slot is has_slot:
            return self._latest
        container = spec.container_spec
        if container is None or not container.mounts:  # as most: they are not worth a record
            return _NOTHING
        key = id(spec), has_slot
        found = self._wanted.get(key)
        if found is None:
            same = not differ_by_slot(task)
            found = self._wanted[key] = _Wanted(
                spec, has_slot, slot_volumes(task) if same else None, snapshot_sources(task) if same else None
            )
        self._latest = found
        return found

    def leaving(self) -> tuple[Transfer, ...]:
        """Return the moves and copies that are in their last pass, in which nobody may write."""
        if self._leaving is None:
            self._leaving = tuple(each for each in self.view.transfers if each.phase == "last")
        return self._leaving

    def add(self, claim: VolumeClaim) -> None:
        self._added[claim.id] = claim
        self._found = ("", None)
        for (service, volume), nodes in self._open.items():
            if volume != claim.volume:
                continue
            if service == claim.service:
                nodes.pop(claim.node_id, None)
            elif claim.node_id in nodes:
                nodes[claim.node_id] = True

    def open_copies(self, service: str, volume: str) -> dict[str, bool]:
        """Return the nodes with a copy that no slot of a service claims, and whether another service does so."""
        found = self._open.get((service, volume))
        if found is None:
            claims = [claim for claim in self.named(volume) if in_use(claim, self.view)]
            others = {claim.node_id for claim in claims if claim.service != service}
            seen = self.view.volumes.named(volume)
            copies = {copy.node_id for copy in seen if copy.eligible and not copy.shared}
            copies = (copies - self.unfit_nodes(volume)) | others
            own = {claim.node_id for claim in claims if claim.service == service}
            found = self._open[service, volume] = {node_id: node_id in others for node_id in copies - own}
        return found

    def unfit_nodes(self, volume: str) -> frozenset[str]:
        """Name the nodes where a volume of this name is not to be used: a copy goes there, or what is there is old.

        Old is what was moved away, and what has the lineage of data that is claimed elsewhere.
        """
        found = self._unfit.get(volume)
        if found is None:
            there = {copy.node_id: copy for copy in self.view.volumes.named(volume) if not copy.missing_since}
            homes = {claim.node_id for claim in self.named(volume)}
            lineages = {there[node_id].data_id for node_id in homes & there.keys()} - {""}
            old = {
                node_id
                for node_id, copy in there.items()
                if node_id not in homes and (copy.partial or copy.role == RETIRED or copy.data_id in lineages)
            }
            coming = {each.target for each in self.view.transfers if each.active and volume in each.arriving}
            found = self._unfit[volume] = frozenset(old | coming)
        return found


def holds(claim: VolumeClaim, view: View) -> bool:
    """Whether a claim counts: its engine had the volume, or its task may still get there.

    None does to a volume of which the claim's own node says that every node reaches its data. What another node says of
    one by that name does not matter: else any worker could have a slot start on an empty volume.
    """
    if is_shared(claim.volume, claim.node_id, view):
        return False
    if claim.bound:
        return True
    task = view.tasks.get(claim.task_id)
    return task is not None and (task.live or task.placed or has_made_volumes(task))


def is_shared(volume: str, node_id: str, view: View) -> bool:
    """Whether a node says that every node reaches the data in its volume."""
    copy = view.volumes.get(volume_id(node_id, volume))
    return copy is not None and copy.shared


def is_old(node_id: str, name: str, view: View) -> bool:
    """Whether a copy counts for nobody: moved away or left behind, not whole, or of data that is claimed elsewhere."""
    copy = view.volumes.get(volume_id(node_id, name))
    return copy is not None and (bool(copy.role) or node_id in Claims(view).unfit_nodes(name))


def has_made_volumes(task: Task) -> bool:
    """Whether a task got so far that its engine had its volumes."""
    return bool(task.container) or task.status.state in _WITH_CONTAINER


def in_use(claim: VolumeClaim, view: View) -> bool:
    """Whether a claim is of a service that there is; a removed one only remembers where its data was."""
    return any(not service.pending_delete for service in view.services.named(claim.service))


def bound_volumes(task: Task, view: View) -> tuple[SlotVolume, ...]:
    """List the volumes of a task whose data is one node's, as far as is known: not what its node calls shared."""
    return _bound(slot_volumes(task), task.node_id, view)


def _bound(wanted: tuple[SlotVolume, ...], node_id: str, view: View) -> tuple[SlotVolume, ...]:
    return tuple([each for each in wanted if not is_shared(each.name, node_id, view)])


def is_fresh(task: Task, view: View) -> bool:
    """Whether a slot starts empty elsewhere when its data's node is away."""
    return _label(task, view, POLICY_LABEL) == "fresh"


def moves_with_drain(service: Service) -> bool:
    """Whether a service's data is moved off a node that is drained."""
    return service.spec.labels.get(POLICY_LABEL) == "move"


def has_one_writer(task: Task, view: View) -> bool:
    """Whether a task's slot has data of which two tasks must never be writers at once."""
    return _label(task, view, WRITERS_LABEL) != "many" and _has_node_data(task, view)


def _has_node_data(task: Task, view: View) -> bool:
    """Whether a slot has data that is one node's: not where all nodes with tasks of its service call it shared."""
    wanted = slot_volumes(task)
    if not wanted:
        return False
    nodes = {each.node_id for each in view.tasks.of_service(task.service_id)} - {""}
    return not nodes or not all(is_shared(each.name, node_id, view) for each in wanted for node_id in nodes)


def _label(task: Task, view: View, label: str) -> str:
    service = view.services.get(task.service_id)
    return (service.spec.labels if service is not None else task.labels).get(label, "")


def data_node(task: Task, view: View) -> str:
    """Return the node that a task's slot is to stay on for its data; empty where it may go elsewhere."""
    if not slot_volumes(task) or is_fresh(task, view):
        return ""
    claims = Claims(view)
    for each in bound_volumes(task, view):
        claim = claims.get(task.service_name, task.slot, each.name)
        if claim is not None and claim.node_id == task.node_id and may_have_data(claim, view):
            return claim.node_id
    return ""


def has_volume(claim: VolumeClaim, view: View) -> bool:
    """Whether the engine is known to have had the volume of a claim."""
    task = view.tasks.get(claim.task_id)
    return claim.bound or (task is not None and has_made_volumes(task))


def may_have_data(claim: VolumeClaim, view: View) -> bool:
    """Whether the data of a claim exists, or may: a task that was sent to a node and is not heard of may have begun."""
    task = view.tasks.get(claim.task_id)
    return claim.bound or (task is not None and (task.placed or has_made_volumes(task)))


def new_claim(task: Task, volume: str, *, bound: bool) -> VolumeClaim:
    """Make the claim of a placed task's slot to a volume of its node."""
    return VolumeClaim(
        id=claim_id(task.service_name, task.slot, volume),
        service=task.service_name,
        slot=task.slot,
        volume=volume,
        node_id=task.node_id,
        task_id=task.id,
        bound=bound,
    )


def take(task: Task, claims: Claims) -> None:
    """Count the claims of a task that a decision places, for those that it places after it."""
    for each in claims.volumes(task):
        old = claims.get(task.service_name, task.slot, each.name)
        if (old is None or old.node_id != task.node_id) and not is_shared(each.name, task.node_id, claims.view):
            claims.add(new_claim(task, each.name, bound=False))


def holders(node_id: str, name: str, view: View) -> Collection[str]:
    """Name the slots of services that there are whose data a copy is."""
    return sorted(
        claim.holder
        for claim in view.volume_claims.named(name)
        if claim.node_id == node_id and holds(claim, view) and in_use(claim, view)
    )


def is_claimed(node_id: str, name: str, view: View) -> bool:
    """Whether a slot's data is in a copy; also of a service that is removed, and may be created again."""
    return any(claim.node_id == node_id and holds(claim, view) for claim in view.volume_claims.named(name))


def claims_of(task: Task, view: View) -> Iterator[VolumeClaim]:
    """Yield the claims that a placed task's slot lacks, or has not bound, though its engine has the volumes.

    That concerns tasks that were placed before there were claims, and tasks whose container was just made.
    """
    if not task.node_id or not has_made_volumes(task):
        return
    for each in bound_volumes(task, view):
        old = view.volume_claims.get(claim_id(task.service_name, task.slot, each.name))
        if old is None:
            yield new_claim(task, each.name, bound=True)
        elif not old.bound and old.task_id == task.id:
            yield replace(old, bound=True)
