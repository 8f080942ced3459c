"""One service while it is decided: what is known of it, and the few things that can be done to its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from common.ids import new_id
from common.model import Service, Task, TaskState, TaskStatus
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
from manager.orchestrate.reconcile.slots import Slot
from manager.orchestrate.update import canary
from manager.store.changes import Draft
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Whether a task is what would be created now: exactly, but for placement, or but for secrets and configs."""

    same: bool
    same_but_placement: bool
    same_but_files: bool


# Seconds between the creation times of two tasks of a slot that are created in the same instant.
_TICK = 1e-6


class ServiceContext:
    """A service, the state around it, and the draft that its decision goes into.

    `held`: its update waits, and `service` is what its tasks are created from meanwhile; it must not be stored.
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
        self.task_spec = task_spec(service)
        self.host_ports = host_ports(service)
        # How many serving tasks may still stop before others serve in their place; None without a bound.
        self.spare: int | None = None
        # What the update's status will say about its progress.
        self.notes: list[TaskReplaced | StopsFirst] = []
        self._stopped: set[str] = set()
        self._same: dict[tuple[int, tuple[PortConfig, ...]], _Comparison] = {}

    def __str__(self) -> str:
        return self.service.spec.name or self.service.id

    # --- questions ---

    def clean(self, task: Task) -> bool:
        """Whether a task is as the service's specification wants it now, or has no visible difference from that.

        A change of placement alone keeps the tasks that still fit where they are (swarmkit `update/updater.go`). An
        unchanged task does not fit if its node has changed in between.
        """
        if task.refused:
            return False  # it has other files than its specification says
        if task.spec_version == self.service.spec_version:
            return True
        alike = self._compare(task)
        if alike.same and not (task.live and task.node_id):
            return True
        return alike.same_but_placement and self._fits(task)

    def renewable(self, task: Task) -> bool:
        """Whether a task lacks only new secrets or configs, and its service wants them changed in place."""
        return (
            self.on_rotate != "restart"
            and not self.held
            and not task.refused
            and self._compare(task).same_but_files
            and self._fits(task)
        )

    def needs_nothing(self, task: Task) -> bool:
        """Whether the only task of a slot needs nothing, outside of an update."""
        return (
            task.desired_state is TaskState.RUNNING
            and task.spec_version == self.service.spec_version
            and task.status.state <= TaskState.RUNNING
            and not task.moving_to
            and not task.refused
            and self.availabilities.of(task) in KEEPS_TASKS
            and not self.is_stopped_for_move(task)
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
        sample = Task(slot=1, spec=self.task_spec, service_id=self.service.id, service_name=self.service.spec.name)
        return not self.service.spec.mode.is_global and volume_claims.has_one_writer(sample, self.view)

    @cached_property
    def keeps_data(self) -> bool:
        """Whether a slot's next task has the data of the one before, and must not write beside it."""
        return self.has_one_writer and self.service.spec.labels.get(POLICY_LABEL) != "fresh"

    def is_stopped_for_move(self, task: Task) -> bool:
        """Whether a task must stop for the last pass of a move of its data; the next one waits for the end of that."""
        return bool(len(self.view.transfers)) and any(
            transfers.is_stopped(task.node_id, each.name, self.view) for each in slot_volumes(task)
        )

    def stays_with_data(self, task: Task, availability: NodeAvailability) -> bool:
        """Whether a task stays, for its data, on a node that others leave: a lost one may only be cut off.

        On a drained one it stays until its data is moved away and it stops for the last pass of that.
        """
        if availability is NodeAvailability.LOST:
            return self.tied_to_data(task)
        drained = availability is NodeAvailability.DRAINED and volume_claims.moves_with_drain(self.service)
        return drained and self.tied_to_data(task) and not self.is_stopped_for_move(task)

    def tied_to_data(self, task: Task) -> bool:
        """Whether a task's slot has data on the task's node, without which it is not to start."""
        return bool(task.node_id) and volume_claims.data_node(task, self.view) == task.node_id

    @cached_property
    def on_rotate(self) -> str:
        return extensions.of(self.service).on_rotate

    def _compare(self, task: Task) -> _Comparison:
        """Compare a task's spec with the service's, once for all tasks of one version with the same ports.

        A task whose files were replaced has a newer version than the one it was created from, with other ports.
        """
        found = self._same.get((task.spec_version, task.ports))
        if found is None:
            ports = revisions.host_published_ports(task.ports) == self.host_ports
            ports = ports and revisions.has_right_attachment(task, self.service, self.view)
            moved = msgspec.structs.replace(task.spec, placement=self.task_spec.placement)
            found = _Comparison(
                same=ports and task.spec == self.task_spec,
                same_but_placement=ports and moved == self.task_spec,
                same_but_files=ports and revisions.only_files_differ(moved, self.task_spec),
            )
            self._same[task.spec_version, task.ports] = found
        return found

    def _fits(self, task: Task) -> bool:
        node = self.view.nodes.get(task.node_id)
        return node is not None and not unmet(self.task_spec.placement, node)

    # --- changes ---

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
        """Create a task for a slot, later than `after` (Unix seconds); with `wait`, or before its time, only prepared.

        Its specification is the service's present one, or that of the task `like`.
        """
        ready = wait or restart.not_before > self.now
        desired = TaskState.READY if ready else TaskState.RUNNING
        self.draft.put(
            Task(
                id=new_id(self.rng),
                created_at=max(self.now, after + _TICK),
                labels=self.service.spec.labels,
                spec=like.spec if like else self.task_spec,
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

    def create_successor(self, slot: Slot, restart: RestartRecord, *, is_update: bool = False) -> None:
        """Create the next task of a slot. It waits for those that are still stopping on nodes that answer.

        Tasks of a slot have an order, even if created in the same instant. `is_update`: it is this slot's turn in the
        update; otherwise a slot that the update's canary leaves out keeps its specification.
        """
        latest = max(task.created_at for task in (*slot.tasks, *slot.leaving))
        like = None if is_update else canary.task_to_keep(self, slot)
        self.create(
            slot.number, slot.home, wait=bool(self.still_stopping(slot)), restart=restart, after=latest, like=like
        )

    def still_stopping(self, slot: Slot) -> list[Task]:
        """Return the tasks of a slot that were told to stop, perhaps in this decision, and may still run.

        Those on lost nodes count only if the next task has the same data.
        """
        return [
            task
            for task in (*slot.tasks, *slot.leaving)
            if (task.desired_state > TaskState.RUNNING or task.id in self._stopped)
            and task.placed
            and (self.keeps_data or not self.lost(task))
        ]

    def replace(self, slot: Slot, old: Task, restart: RestartRecord, *, is_update: bool = False) -> None:
        """Tell `old` to stop and create its successor."""
        self.stop(old)
        self.create_successor(slot, restart, is_update=is_update)

    def renew(self, task: Task) -> None:
        """Give a task's running container the secrets and configs that the service names now."""
        latest = self.draft.latest(task)
        references = container_references(task.spec.container_spec)
        if task.renewal is not None and task.renewing:
            references |= frozenset(task.renewal.replaces)
        renewal = Renewal(
            asked_at=self.now,
            signal=self.on_rotate.partition(":")[2],
            replaces=tuple(sorted(references - container_references(self.task_spec.container_spec))),
        )
        self.draft.put(
            msgspec.structs.replace(
                latest, spec=self.task_spec, spec_version=self.service.spec_version, renewal=renewal
            )
        )

    def was_told_to_stop(self, task: Task) -> bool:
        """Whether this decision told a task to stop."""
        return task.id in self._stopped

    def take_spare(self) -> bool:
        """Take one of the spare replicas; return False if there is none, so that no other serving task may stop now."""
        if self.spare is None:
            return True
        if self.spare == 0:
            return False
        self.spare -= 1
        return True

    def stop(self, task: Task) -> None:
        self._stopped.add(task.id)
        self._raise_desired_state(task, TaskState.SHUTDOWN)

    def discard(self, task: Task) -> None:
        """Tell a task to stop; its record is removed after that."""
        self._raise_desired_state(task, TaskState.REMOVE)

    def discard_slot(self, slot: Slot | None) -> None:
        """Discard all tasks of a slot, if there is one."""
        for task in slot.tasks if slot is not None else ():
            self.discard(task)

    def cancel_move(self, task: Task) -> None:
        """Cancel the move of a task's slot to another node."""
        self.draft.put(msgspec.structs.replace(task, moving_to="", moving_since=0.0))

    def start(self, task: Task) -> None:
        self._raise_desired_state(task, TaskState.RUNNING)

    def _raise_desired_state(self, task: Task, state: TaskState) -> None:
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
        """Whether a task's node is down or gone."""
        return self.availabilities.lost(task)

    def may_return(self, task: Task) -> bool:
        """Whether a lost task served, and may go on when its node is back.

        If the slot has data, the next task waits for the end of this one, which must be told to stop. A job counts the
        tasks that run.
        """
        if not task.serves or not self.lost(task) or self.keeps_data or task.job_iteration is not None:
            return False
        node = self.view.nodes.get(task.node_id)
        return node is not None and node.spec.availability != "drain"


def task_spec(service: Service) -> TaskSpec:
    """Return what tasks are created from: the template, with the service's own networks if it names none."""
    template = service.spec.task_template
    if template.networks or not service.spec.networks:
        return template
    return msgspec.structs.replace(template, networks=service.spec.networks)


def host_ports(service: Service) -> tuple[PortConfig, ...]:
    """Return the ports that each task opens on its own host."""
    return revisions.host_published_ports(service.spec.ports)
