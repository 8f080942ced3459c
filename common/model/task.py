"""Tasks: one container of a service, from its creation to its end (swarmkit `design/task_model.md`)."""

from __future__ import annotations

import enum
from collections.abc import Container

from common.model.naming import Model, Object, Version
from common.model.service import GenericResource, PortConfig, TaskSpec
from common.model.volume import TaskVolume


class TaskState(enum.IntEnum):
    """How far a task is. An observed state only ever increases."""

    NEW = 0
    PENDING = 64
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    FAILED = 704
    REJECTED = 768
    REMOVE = 800
    ORPHANED = 832

    @property
    def terminal(self) -> bool:
        """Whether a task that was seen in this state runs no more."""
        return self > TaskState.RUNNING


class ContainerStatus(Model):
    container_id: str = ""
    pid: int = 0
    exit_code: int = 0


class TaskStatus(Model):
    """What was last seen of a task. Reported by its worker; before it has one, by the manager.

    `addresses` maps the id of each network to the task's address in it, as the worker assigned it, `hostname` is the
    container's own name for itself. `ports` are host-mode ports that the engine bound. `renewed` is the version of the
    specification of which the container has the secrets and configs, where the task was given others; `refused` one
    of which it cannot have them, as `err` says.
    """

    timestamp: float = 0.0
    state: TaskState = TaskState.NEW
    message: str = ""
    err: str = ""
    container_status: ContainerStatus | None = None
    ports: tuple[PortConfig, ...] = ()
    addresses: dict[str, str] = {}
    hostname: str = ""
    renewed: int = 0
    refused: int = 0


class RestartRecord(Model):
    """What the restart decider remembers of a slot, carried from task to task so that a new manager decides the same.

    `attempts` counts the restarts that count against the policy's `max_attempts`, `streak` the failures in a row
    without a stable run between them (it drives the back-off); the replacement may be started at `not_before` (Unix
    seconds; 0: at once). `running_since` is when the manager first heard that this task runs, 0 before. `unprepared`:
    the task before this one was rejected, so this one is given to no node before its time, not even to be prepared.
    """

    attempts: int = 0
    streak: int = 0
    not_before: float = 0.0
    running_since: float = 0.0
    unprepared: bool = False


class Renewal(Model):
    """Other secrets and configs for a task that exists already: those of its specification's present version.

    Asked for at `asked_at`, and at `taken_at` the manager heard that the container has them (its own clock, Unix
    seconds; 0: not yet). `signal` is then sent to the container. `replaces` are ids of the secrets and configs of which
    it has the content until it takes the others.
    """

    asked_at: float = 0.0
    taken_at: float = 0.0
    signal: str = ""
    replaces: tuple[str, ...] = ()


class Task(Object):
    """A task as stored and as sent to its worker.

    `slot` is 1… for replicated tasks and 0 for global ones. `service_name`, `spec`, `ports` and `labels` are copies
    made at creation, so that a task can be carried out from its own record alone. `desired_state` is written by the
    manager only. `moving_to` is set when the slot is to go to another node: its id, where a replacement runs before
    this task stops; `moving_since` is when that was asked for. `renewal` is the last change of its secrets and configs,
    which make a new `spec_version` of it. `volumes` is the data that it is to find in its named volumes, set with its
    node: its worker starts it on no other.
    """

    labels: dict[str, str] = {}
    spec: TaskSpec = TaskSpec()
    spec_version: int = 0
    service_id: str = ""
    service_name: str = ""
    slot: int = 0
    node_id: str = ""
    status: TaskStatus = TaskStatus()
    desired_state: TaskState = TaskState.NEW
    ports: tuple[PortConfig, ...] = ()
    generic_resources: tuple[GenericResource, ...] = ()
    job_iteration: Version | None = None
    restart: RestartRecord = RestartRecord()
    moving_to: str = ""
    moving_since: float = 0.0
    renewal: Renewal | None = None
    volumes: tuple[TaskVolume, ...] = ()

    @property
    def name(self) -> str:
        """The container's name: `service.slot.taskid`, the node's id in place of the slot for a global task."""
        return f"{self.service_name}.{self.slot or self.node_id}.{self.id}"

    @property
    def container(self) -> str:
        """The container's id, empty while none is known."""
        return self.status.container_status.container_id if self.status.container_status is not None else ""

    @property
    def live(self) -> bool:
        """Whether this task holds its slot: wanted, and not seen to have ended."""
        return self.desired_state <= TaskState.RUNNING and not self.status.state.terminal

    @property
    def placed(self) -> bool:
        """Whether it takes part of its node: it was given that, and was not seen to have ended, told to or not."""
        return bool(self.node_id) and TaskState.ASSIGNED <= self.status.state <= TaskState.RUNNING

    @property
    def serves(self) -> bool:
        """Whether it runs, and is to."""
        return self.status.state is TaskState.RUNNING and self.desired_state is TaskState.RUNNING

    def runs(self, down: Container[str]) -> bool:
        """Whether it is counted as running; `down` are the ids of nodes that are, of whose tasks nothing is known."""
        return self.live and self.status.state is TaskState.RUNNING and self.node_id not in down

    def is_lost(self, down: Container[str]) -> bool:
        """Whether it is to be where nothing is known of it; `down` are the ids of nodes that are."""
        return self.live and self.placed and self.node_id in down

    @property
    def finds_no_node(self) -> bool:
        """Whether the scheduler has looked for a node and found none: nobody else gives a pending task an error."""
        return self.status.state is TaskState.PENDING and bool(self.status.err)

    @property
    def ended_by_itself(self) -> bool:
        return self.status.state in (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)

    @property
    def held_back(self) -> bool:
        """Whether it is to reach no node yet: preparing it failed last, and it is not time to try that again."""
        return self.restart.unprepared and self.desired_state <= TaskState.READY

    @property
    def renewing(self) -> bool:
        """Whether the container was not seen to have the secrets and configs that the task was given last."""
        return self.renewal is not None and self.status.renewed != self.spec_version

    @property
    def refused(self) -> bool:
        """Whether the worker has said that the container cannot have them."""
        return self.renewal is not None and self.status.refused == self.spec_version
