"""How a service's update stands: its state, and as data why that is so. Sentences are made of it where it is shown.

See `manager/domain/update_status.py` for the words, and docs/extensions.md for what the API adds to Docker's fields.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from common.model.naming import Model


class UpdateState(StrEnum):
    """Docker's states of an update. NONE: there is no update."""

    NONE = ""
    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLBACK_COMPLETED = "rollback_completed"


# The updates that go on, and those that do so when they are told to.
ACTIVE = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
HALTED = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
ROLLBACKS = (UpdateState.ROLLBACK_STARTED, UpdateState.ROLLBACK_PAUSED, UpdateState.ROLLBACK_COMPLETED)


class Condition(StrEnum):
    """How far a dependency must be."""

    STARTED = "started"
    HEALTHY = "healthy"
    COMPLETED = "completed"


class Obstacle(StrEnum):
    """Why a dependency cannot be as far as it must be, as things stand. NONE: it can, and is not yet."""

    NONE = ""
    MISSING = "missing"
    IS_JOB = "is-job"
    HAS_COMPLETED = "has-completed"


class Action(StrEnum):
    """What a client may ask of an update."""

    PAUSE = "pause"
    ROLLBACK = "rollback"
    ABORT = "abort"


class Awaited(Model):
    """A service, by its name, that is waited for."""

    service: str
    condition: Condition
    obstacle: Obstacle = Obstacle.NONE


# --- remarks: how an update goes on, where not as usual ---


class AwaitsServices(Model, tag_field="Kind", tag="depends-on"):
    """An update is not begun with before other services are as far as the service's dependencies say."""

    services: tuple[Awaited, ...]


class AwaitsReplicas(Model, tag_field="Kind", tag="max-unavailable"):
    """No slot can be changed now, as no more replicas may be missing."""


class TaskReplaced(Model, tag_field="Kind", tag="task-replaced"):
    """A task, by its name, is replaced though it was to be given other files: it refused them, and said `error`."""

    task: str
    error: str = ""


class StopsFirst(Model, tag_field="Kind", tag="stops-first"):
    """A slot's old task stops first though the new one was to start first: that cannot run beside it, as `error` says.

    `slot` is its number, of a global service its node's id.
    """

    slot: str
    error: str = ""


Remark: TypeAlias = AwaitsServices | AwaitsReplicas | TaskReplaced | StopsFirst


# --- reasons: why an update has come to its state ---


class CanaryHolds(Model, tag_field="Kind", tag="canary"):
    """The canary is changed, `updated` slots `of` so many, and the update goes no further for now."""

    updated: int
    of: int


class Requested(Model, tag_field="Kind", tag="requested"):
    """A client asked for it; `by` is its name. `revision` is the one that a rollback was to, 0 for the one before."""

    action: Action
    by: str = ""
    revision: int = 0


class TasksFailed(Model, tag_field="Kind", tag="tasks-failed"):
    """New tasks of `failed` slots `of` so many ended within the monitor period: `task` (its id) with `error`."""

    task: str
    failed: int
    of: int
    error: str = ""


class NoProgress(Model, tag_field="Kind", tag="no-progress"):
    """Nothing came to run for `deadline` seconds.

    That is for what the update `waits` for, or for `task` (its id): it does not run and says `error`, or `renewing`, it
    has not received its new files.
    """

    deadline: float
    waits: AwaitsServices | AwaitsReplicas | None = None
    task: str = ""
    error: str = ""
    renewing: bool = False


Failure: TypeAlias = TasksFailed | NoProgress
Reason: TypeAlias = CanaryHolds | Requested | TasksFailed | NoProgress


class UpdateProgress(Model):
    """How far an update is: `done` slots `of` all are as the service says and run, `batch` are being changed now.

    Changed now are those whose new task does not run yet, or runs for less than the update's delay. `waits_for` are the
    services that it waits for, `monitor_until` when failures of what has been changed so far count no more, or when a
    canary that holds goes on by itself; 0 when neither is known.
    """

    done: int = 0
    of: int = 0
    batch: int = 0
    waits_for: tuple[Awaited, ...] = ()
    monitor_until: float = 0.0


class UpdateStatus(Model):
    """An update's state, the `reason` why it has come to that, and a `remark` where it does not go on as usual.

    `resumed_at` is when a pause was ended: what failed before it does not count. `promoted` says that the update goes
    beyond its canary, `held_at` since when it holds there. Without a state only `promoted` is known: the present
    specification is beyond its canary. `returns_to` is the revision that a rollback is to, 0 if none had a number, and
    `rollback_refused` says why the rollback that was to follow a failure is not possible.

    `message` is in the API's answers, and in stores of before there were reasons; `progress` only in answers.
    """

    state: UpdateState = UpdateState.NONE
    started_at: float = 0.0
    completed_at: float = 0.0
    message: str = ""
    resumed_at: float = 0.0
    promoted: bool = False
    held_at: float = 0.0
    reason: Reason | None = None
    remark: Remark | None = None
    returns_to: int = 0
    rollback_refused: str = ""
    progress: UpdateProgress | None = None
