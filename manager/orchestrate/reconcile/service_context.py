"""One service being decided: what is known of it, and the few things that can be done to its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from common.ids import new_id
from common.model import Service, StoredObject, Task, TaskState, TaskStatus
from common.model.service import PortConfig, TaskSpec
from common.model.task import Renewal, RestartRecord
from common.model.update import ACTIVE, StopsFirst, TaskReplaced
from common.spec import extensions
from common.spec.constraints import unmet
from common.spec.slot_volumes import slot_volumes
from common.spec.volumes import POLICY_LABEL
from manager.domain import revisions, transfers, volume_claims
from manager.domain.references import container_references
from manager.domain.update_status import canary_size
from manager.orchestrate.node_availability import KEEPS_TASKS, NodeAvailabilities, NodeAvailability
from manager.orchestrate.reconcile import ingress_attachment
from manager.orchestrate.reconcile.slots import Slot
from manager.orchestrate.update import canary
from manager.store.changes import Decision
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class _Alike:
    """How like a task is to what would be made now: the same, or but for placement, or but for secrets and configs."""

    same: bool
    but_placement: bool
    but_files: bool


# What sets apart the creation of two tasks of a slot that are made in the same instant, in seconds.
_TICK = 1e-6


class ServiceContext:
    """A service, the state around it, and the draft that its decision goes into.

    `held`: its update waits, and `service` is what its tasks are made from meanwhile; it is not to be stored.
    """

    def __init__(
        self, service: Service, view: View, now: float, rng: Random, draft: Draft, *, held: bool = False
    ) -> None:
        self.service = service
        self.held = held
        self.iteration = service.job_status.job_iteration if service.job_status is not None else None
        self.view = view
        self.now = now
        self.rng = rng
        self.draft = draft
        self.canary = 0 if held else canary_size(service)
        self.availabilities = NodeAvailabilities(view)
        self.recipe = recipe(service)
        self.host_ports = host_ports(service)
        # Tasks that serve and may stop before others do in their place; None when that has no bound.
        self.spare: int | None = None
        # What an update's status is to say of how it goes.
        self.notes: list[TaskReplaced | StopsFirst] = []
        self._stopped: set[str] = set()
        self._same: dict[tuple[int, tuple[PortConfig, ...]], _Alike] = {}

    def __str__(self) -> str:
        return self.service.spec.name or self.service.id

    # --- what is ---

    def clean(self, task: Task) -> bool:
        """Whether a task is as the service's specification wants it now, or has no visible difference from that.

        A change of placement alone leaves alone the tasks that still fit where they are (swarmkit `update/updater.go`).
        One that is as it was before does not fit if its node has changed in between.
        """
        if task.refused:
            return False  # it has other files than its specification says
        if task.spec_version == self.service.spec_version:
            return True
        alike = self._compare(task)
        if alike.same and not (task.live and task.node_id):
            return True
        return alike.but_placement and self._fits(task)

    def renewable(self, task: Task) -> bool:
        """Whether a task lacks only other secrets or configs, and its service wants to have them changed in place."""
        return (
            self.on_rotate != "restart"
            and not self.held
            and not task.refused
            and self._compare(task).but_files
            and self._fits(task)
        )

    def quiet(self, task: Task) -> bool:
        """Whether there is nothing to do for the only task of a slot, outside of an update."""
        return (
            task.desired_state is TaskState.RUNNING
            and task.spec_version == self.service.spec_version
            and task.status.state <= TaskState.RUNNING
            and not task.moving_to
            and not task.refused
            and self.availabilities.of(task) in KEEPS_TASKS
            and not self.stands_still(task)
        )

    @property
    def replicas(self) -> int:
        """How many slots a replicated service is to have."""
        return self.service.spec.mode.replicas

    @property
    def updating(self) -> bool:
        """Whether a rolling update or rollback is under way, or may be with its canary."""
        status = self.service.update_status
        return self.canary > 0 or (status is not None and status.state in ACTIVE)

    @cached_property
    def has_one_writer(self) -> bool:
        """Whether a slot's next task may start only when the one before has ended, for the data that both have."""
        sample = Task(slot=1, spec=self.recipe, service_id=self.service.id, service_name=self.service.spec.name)
        return not self.service.spec.mode.is_global and volume_claims.has_one_writer(sample, self.view)

    @cached_property
    def keeps_data(self) -> bool:
        """Whether a slot's next task has the data of the one before, and must not write beside it."""
        return self.has_one_writer and self.service.spec.labels.get(POLICY_LABEL) != "fresh"

    def stands_still(self, task: Task) -> bool:
        """Whether a task is to stop for the last pass of a move of its data; its next one waits for the end of that."""
        return bool(len(self.view.transfers)) and any(
            transfers.is_stopped(task.node_id, each.name, self.view) for each in slot_volumes(task)
        )

    def stays_with_data(self, task: Task, availability: NodeAvailability) -> bool:
        """Whether a task stays on a node that others leave: for its data, on a host that may only be cut off.

        On a drained one, until its data is moved from there and it stops for the last pass of that.
        """
        if availability is NodeAvailability.LOST:
            return self.tied_to_data(task)
        drained = availability is NodeAvailability.DRAINED and volume_claims.moves_with_drain(self.service)
        return drained and self.tied_to_data(task) and not self.stands_still(task)

    def tied_to_data(self, task: Task) -> bool:
        """Whether a task's slot has data on the task's node, without which it is not to start."""
        return bool(task.node_id) and volume_claims.data_node(task, self.view) == task.node_id

    @cached_property
    def on_rotate(self) -> str:
        return extensions.of(self.service).on_rotate

    def _compare(self, task: Task) -> _Alike:
        """Compare a task's spec with the service's, once for all tasks of one version with the same ports.

        Tasks that were given other files since have a version without having been made from it: not with its ports.
        """
        found = self._same.get((task.spec_version, task.ports))
        if found is None:
            ports = revisions.host_published_ports(task.ports) == self.host_ports
            ports = ports and ingress_attachment.has_right_attachment(task, self.service, self.view)
            moved = msgspec.structs.replace(task.spec, placement=self.recipe.placement)
            found = _Alike(
                same=ports and task.spec == self.recipe,
                but_placement=ports and moved == self.recipe,
                but_files=ports and revisions.only_files_differ(moved, self.recipe),
            )
            self._same[task.spec_version, task.ports] = found
        return found

    def _fits(self, task: Task) -> bool:
        node = self.view.nodes.get(task.node_id)
        return node is not None and not unmet(self.recipe.placement, node)

    # --- what is done ---

    def create(
        self,
        slot: int,
        node_id: str = "",
        *,
        restart: RestartRecord,
        wait: bool = False,
        after: float = 0.0,
        like: Task | None = None,
    ) -> None:
        """Make a task for a slot, later than `after`. With `wait`, or before its time, it is prepared, not started.

        It is made as the service says now, or `like` another.
        """
        ready = wait or restart.not_before > self.now
        desired = TaskState.READY if ready else TaskState.RUNNING
        self.draft.put(
            Task(
                id=new_id(self.rng),
                created_at=max(self.now, after + _TICK),
                labels=self.service.spec.labels,
                spec=like.spec if like else self.recipe,
                spec_version=like.spec_version if like else self.service.spec_version,
                service_id=self.service.id,
                service_name=self.service.spec.name,
                slot=slot,
                node_id=node_id,
                status=TaskStatus(timestamp=self.now, state=TaskState.NEW, message="created"),
                desired_state=desired,
                ports=like.ports if like else self.host_ports,
                job_iteration=self.iteration,
                restart=restart,
            )
        )
        if restart.not_before > self.now:
            self.wake(restart.not_before)

    def succeed(self, slot: Slot, restart: RestartRecord, *, anew: bool = False) -> None:
        """Make the next task of a slot. It waits for those that still stop, as far as their nodes are heard of.

        What is in a slot has an order, even if it is made within one instant. With `anew` it is the update's turn to
        change the slot; else a slot that an update's canary leaves out stays as it is.
        """
        latest = max(task.created_at for task in (*slot.tasks, *slot.leaving))
        like = None if anew else canary.task_to_keep(self, slot)
        self.create(slot.number, slot.home, wait=bool(self.ending(slot)), restart=restart, after=latest, like=like)

    def ending(self, slot: Slot) -> list[Task]:
        """Return the tasks of a slot that are told to stop, be it just now, and may still run.

        Those on nodes that are not heard of count only where the next task is to have the same data.
        """
        return [
            task
            for task in (*slot.tasks, *slot.leaving)
            if (task.desired_state > TaskState.RUNNING or task.id in self._stopped)
            and task.placed
            and (self.keeps_data or not self.lost(task))
        ]

    def replace(self, slot: Slot, old: Task, restart: RestartRecord, *, anew: bool = False) -> None:
        """Tell `old` to stop and make its successor."""
        self.stop(old)
        self.succeed(slot, restart, anew=anew)

    def renew(self, task: Task) -> None:
        """Have a task's container get the secrets and configs that the service names now, as it is."""
        latest = self.draft.latest(task)
        references = container_references(task.spec.container_spec)
        if task.renewal is not None and task.renewing:
            references |= frozenset(task.renewal.replaces)
        renewal = Renewal(
            asked_at=self.now,
            signal=self.on_rotate.partition(":")[2],
            replaces=tuple(sorted(references - container_references(self.recipe.container_spec))),
        )
        self.draft.put(
            msgspec.structs.replace(latest, spec=self.recipe, spec_version=self.service.spec_version, renewal=renewal)
        )

    def told_to_stop(self, task: Task) -> bool:
        """Whether a task was told so in this very decision."""
        return task.id in self._stopped

    def may_go_without(self) -> bool:
        """Whether one more slot may do without a task that serves for a while; if so, it is counted as doing so."""
        if self.spare is None:
            return True
        if self.spare == 0:
            return False
        self.spare -= 1
        return True

    def stop(self, task: Task) -> None:
        self._stopped.add(task.id)
        self._want(task, TaskState.SHUTDOWN)

    def discard(self, task: Task) -> None:
        """Tell a task to stop, and let its record go after that."""
        self._want(task, TaskState.REMOVE)

    def give_up(self, slot: Slot | None) -> None:
        """Discard all tasks of a slot, where there is one."""
        for task in slot.tasks if slot is not None else ():
            self.discard(task)

    def stay(self, task: Task) -> None:
        """Give up moving a task's slot to another node."""
        self.draft.put(msgspec.structs.replace(task, moving_to="", moving_since=0.0))

    def promote(self, task: Task) -> None:
        self._want(task, TaskState.RUNNING)

    def _want(self, task: Task, state: TaskState) -> None:
        if task.desired_state < state:
            self.draft.put(msgspec.structs.replace(task, desired_state=state))

    def update(self, service: Service) -> None:
        """Change the service itself."""
        self.service = service
        self.draft.put(service)

    def wake(self, instant: float) -> None:
        self.draft.wake(self.service.id, instant)

    def continue_at_once(self) -> None:
        """Ask for another turn: this decision has become large enough."""
        self.wake(self.now)

    def reason(self, sentence: str) -> None:
        self.draft.reason(f"{self}: {sentence}")

    def lost(self, task: Task) -> bool:
        """Whether nothing is known of a task's node any more."""
        return self.availabilities.lost(task)

    def may_return(self, task: Task) -> bool:
        """Whether a task is lost that served, and may go on when its node is heard of again.

        Where the slot has data, the next task waits for the end of this one, which so has to be told to stop. A job
        counts what is under way.
        """
        if not task.serves or not self.lost(task) or self.keeps_data or task.job_iteration is not None:
            return False
        node = self.view.nodes.get(task.node_id)
        return node is not None and node.spec.availability != "drain"


def recipe(service: Service) -> TaskSpec:
    """Return what tasks are made from: the template, with the service's own networks when it names none itself."""
    template = service.spec.task_template
    if template.networks or not service.spec.networks:
        return template
    return msgspec.structs.replace(template, networks=service.spec.networks)


def host_ports(service: Service) -> tuple[PortConfig, ...]:
    """Return the ports that each task opens on its own host."""
    return revisions.host_published_ports(service.spec.ports)


# A decision while it is being made.


MAX_CHANGES = 500


class Draft:
    """Collects changes up to about `limit`, so that no transaction holds up the manager for long.

    A decider that finds the draft `full` leaves the rest for a wake-up at once. Steps that belong together may go a
    little over. A later `put` of the same object replaces the earlier. `leaving` counts the tasks on the move off a
    node, for `drain`: all services of one decision share it. `rolled_back`: a service has returned to an earlier
    specification, and may hold ports that the decision's view does not show.
    """

    def __init__(self, limit: int = MAX_CHANGES) -> None:
        self._limit = limit
        self._put: dict[tuple[type[StoredObject], str], StoredObject] = {}
        self._remove: dict[tuple[type[StoredObject], str], StoredObject] = {}
        self._wake_at: dict[str, float] = {}
        self._reasons: list[str] = []
        self.leaving: dict[str, int] = {}
        self.rolled_back = False

    @property
    def room(self) -> int:
        """How many more changes are welcome."""
        return max(0, self._limit - len(self._put) - len(self._remove))

    @property
    def full(self) -> bool:
        return self.room == 0

    def put(self, value: StoredObject) -> None:
        self._put[type(value), value.id] = value

    def latest(self, task: Task) -> Task:
        """Return a task as it was put last, or as it is given when it was not."""
        found = self._put.get((Task, task.id))
        return found if isinstance(found, Task) else task

    def remove(self, value: StoredObject) -> None:
        self._remove[type(value), value.id] = value

    def wake(self, key: str, instant: float) -> None:
        """Ask to decide `key` again at `instant` (Unix seconds); the earliest counts."""
        self._wake_at[key] = min(instant, self._wake_at.get(key, instant))

    def reason(self, sentence: str) -> None:
        self._reasons.append(sentence)

    def decision(self) -> Decision:
        return Decision(
            put=tuple(self._put.values()),
            remove=tuple(self._remove.values()),
            wake_at=self._wake_at,
            reasons=tuple(self._reasons),
        )
