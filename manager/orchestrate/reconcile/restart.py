"""Whether, and when, a slot gets a replacement for a task that ended.

The policy is Docker's (swarmkit `orchestrator/restart/restart.go`), with two improvements. The delay doubles with each
failure in a row, from the policy's delay up to five minutes, and starts again after a stable run. A replacement is
prepared on its node meanwhile, but not when preparing is what failed: it would be rejected at once. And `window` is
what Docker's documentation says that it is: a restart has succeeded once its task ran that long, and only restarts
that have not count as attempts. So attempts trip whatever the delay is (swarmkit#2936: there never if window < delay).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from common.clock import SECOND, seconds
from common.model import Task, TaskState
from common.model.service import RestartPolicy
from common.model.task import RestartRecord

if TYPE_CHECKING:
    from random import Random

DEFAULT_DELAY = 5 * SECOND
LONGEST_DELAY = 300.0
STABLE_RUN = 60.0
OLD_TASK_PATIENCE = 60.0
_DEFAULT_POLICY = RestartPolicy()


def policy_of(task: Task) -> RestartPolicy:
    """Return a task's policy. For a job's task, which is done when it completes, `any` means any failure."""
    policy = task.spec.restart_policy or _DEFAULT_POLICY
    if task.job_iteration is not None and policy.condition == "any":
        return msgspec.structs.replace(policy, condition="on-failure")
    return policy


def is_movable(task: Task) -> bool:
    """Whether a task that must leave its node is replaced: not if it has started and its policy is to run it once."""
    return policy_of(task).condition != "none" or task.status.state < TaskState.STARTING


def record_after(ended: Task, now: float, rng: Random) -> RestartRecord | None:
    """Return the record for the replacement of a task that ended by itself, or None when it gets none."""
    policy = policy_of(ended)
    completed = ended.status.state is TaskState.COMPLETE
    if policy.condition == "none" or (policy.condition == "on-failure" and completed):
        return None
    lasted = ran_for(ended)
    window = seconds(policy.window or 0)
    attempts = 0 if window and lasted >= window else ended.restart.attempts
    if policy.max_attempts and attempts >= policy.max_attempts:
        return None
    streak = _streak(ended, completed, lasted)
    return RestartRecord(
        attempts=attempts + 1,
        streak=streak,
        not_before=now + delay(policy, streak, rng),
        unprepared=ended.status.state is TaskState.REJECTED,
    )


def moved_record(task: Task) -> RestartRecord:
    """Return the record for the successor of a task that did not end by itself: this is not an attempt."""
    old = task.restart
    return RestartRecord(attempts=old.attempts, streak=old.streak, not_before=old.not_before)


def ran_for(task: Task) -> float:
    """Return the seconds that an ended task ran, by the manager's clock; 0 if it was never seen running."""
    began = task.restart.running_since
    return max(0.0, task.updated_at - began) if began else 0.0


def delay(policy: RestartPolicy, streak: int, rng: Random) -> float:
    """Return the seconds to wait before the restart after `streak` failures in a row, jittered by up to a tenth.

    A completed task (streak 0) and a first failure wait the policy's delay. From there it doubles, from at least a
    second, and never past five minutes, unless the policy itself asks for more.
    """
    first = seconds(DEFAULT_DELAY if policy.delay is None else policy.delay)
    longest = max(LONGEST_DELAY, first)
    if streak > 1:
        doublings = min(streak - 1, 16)
        wait = max(first, 0.5) * 2.0**doublings
    else:
        wait = first
    return min(longest, wait * (1.0 + rng.random() / 10.0))


def _streak(ended: Task, completed: bool, lasted: float) -> int:
    if completed:
        return 0
    return 1 if lasted >= STABLE_RUN else ended.restart.streak + 1
