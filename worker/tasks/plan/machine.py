"""What to do next for a task: a pure function of the task, what the engine says, and what was done so far.

One step a call, after swarmkit's `agent/exec/controller.go` (`Do`): it returns the state to be in and at most one
action. Observed states only go forward. A task that cannot be started is REJECTED when its container could not be made
and FAILED when it could. A task is never started a second time, with one exception: while no manager can be reached
there is nobody to replace it, so its container is restarted as its restart policy says, and that is not reported.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import msgspec

from common.clock import SECOND, seconds
from common.model.service import RestartPolicy
from common.model.task import Task, TaskState
from worker.interfaces.engine import Container, ContainerEvent, Phase

DEFAULT_RESTART_DELAY = 5 * SECOND
# A program that does not listen on its published ports gets their traffic after this long all the same.
LISTEN_SECONDS = 10.0
UNSAID_SECONDS = 1.0
# Until then it is looked at again after half of the time that it has run, within these bounds.
SHORTEST_LOOK, LONGEST_LOOK = 0.005, 0.25
LONGEST_RESTART_DELAY = 300.0


class Action(enum.Enum):
    """What the task's owner is to do before the next step."""

    PULL = "pull"  # have the image
    CREATE = "create"  # prepare networks and files, create the container
    START = "start"  # start it, or start it again while no manager can be reached
    RENEW = "renew"  # give the container its other secrets and configs
    STOP = "stop"  # take it out of the load balancer, then signal, then kill
    DISCARD = "discard"  # remove the container
    RELEASE = "release"  # give back networks and files


class Contact(enum.Enum):
    """Whether anyone can decide about a task that ended."""

    CONNECTED = "connected"
    LOST = "lost"  # for a moment: the task stays as it is, so that the manager finds out and replaces it
    ALONE = "alone"  # for long: the worker keeps the task alive by itself


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a task on this host.

    state: the last observed state; a step never returns a lower one.
    attempted: whether a container may exist although `container` is None (a create that was interrupted).
    stopping: whether we stop it ourselves, so that its end is not a failure.
    released: whether networks and files are given back.
    missing: secrets and configs that it needs and this host does not have.
    error: why an action failed for good.
    restarts: how often it was restarted without a manager.
    ended_at: when its container was last seen to have ended.
    ran_at: when its container was first seen to run.
    silent: published ports on which its program does not listen yet; unknown, so empty, where it has a health check.
    renewed: the version of the task's specification of which the container has the secrets and configs; see `Task`.
    refused: one of which it cannot have them; `refusal` says why.
    """

    state: TaskState = TaskState.ASSIGNED
    image_ready: bool = False
    container: Container | None = None
    attempted: bool = False
    stopping: bool = False
    released: bool = False
    missing: tuple[str, ...] = ()
    error: str = ""
    contact: Contact = Contact.CONNECTED
    restarts: int = 0
    ended_at: float = 0.0
    ran_at: float = 0.0
    silent: tuple[int, ...] = ()
    renewed: int = 0
    refused: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The state to be in, why, and what to do. `wake_at`: step again at this instant (Unix seconds) at the latest.

    `done`: nothing is left of the task on this host and nothing will ever be to do.
    """

    state: TaskState
    message: str = ""
    err: str = ""
    action: Action | None = None
    wake_at: float | None = None
    done: bool = False


def step(task: Task, now: Situation, instant: float) -> Step:
    """Decide the next step at `instant` (Unix seconds)."""
    if task.desired_state >= TaskState.REMOVE:
        return _remove(now)
    if now.state.terminal:
        return _settle(now)
    if now.error:
        return _fail(now, now.error)
    if task.desired_state > TaskState.COMPLETE:
        return _shut_down(now)
    if now.container is not None and now.container.phase is Phase.EXITED:
        return _judge_exit(task, now, now.container, instant)
    return _forward(task, now, instant)


def _remove(now: Situation) -> Step:
    """Leave nothing. Only then is it reported as ended, so a record that goes means a container that is gone."""
    if _running(now):
        return Step(now.state, action=Action.STOP)
    if now.container is not None or now.attempted:
        return Step(now.state, action=Action.DISCARD)
    if not now.released:
        return Step(now.state, action=Action.RELEASE)
    if not now.state.terminal:
        return Step(TaskState.SHUTDOWN, "shutdown", done=True)
    return Step(now.state, done=True)


def _settle(now: Situation) -> Step:
    """Keep an ended task's container for its logs, but nothing that it would need to run."""
    if _running(now):
        return Step(now.state, action=Action.STOP)
    if not now.released:
        return Step(now.state, action=Action.RELEASE)
    return Step(now.state)


def _shut_down(now: Situation) -> Step:
    if _running(now):
        return Step(now.state, action=Action.STOP)
    if now.container is not None and now.container.phase is Phase.EXITED and not now.stopping:
        return _judge_end(now, now.container)
    return Step(TaskState.SHUTDOWN, "shutdown")


def _forward(task: Task, now: Situation, instant: float) -> Step:
    match now.state:
        case TaskState.ACCEPTED:
            return Step(TaskState.PREPARING, "preparing")
        case TaskState.PREPARING:
            return _prepare(now)
        case TaskState.READY:
            if now.container is None:
                return _fail(now, "task: its container was removed before it was started")
            waits = task.desired_state <= TaskState.READY
            return Step(now.state) if waits else Step(TaskState.STARTING, "starting")
        case TaskState.STARTING | TaskState.RUNNING:
            return _run(task, now, instant)
    return Step(TaskState.ACCEPTED, "accepted")


def _prepare(now: Situation) -> Step:
    if now.container is not None:
        return Step(TaskState.READY, "prepared")
    if now.missing:
        # They follow the assignment, or come with the next session: large ones in messages of their own.
        return Step(now.state, f"waiting for a manager to send {', '.join(now.missing)}")
    return Step(now.state, action=Action.CREATE if now.image_ready else Action.PULL)


def _run(task: Task, now: Situation, instant: float) -> Step:
    """Start the container and call the task running when it is, and fit for traffic.

    That is when it is healthy, if it has a check, and else when it listens on its published ports.
    """
    container = now.container
    if container is None:
        return _fail(now, "task: its container was removed from outside the cluster")
    stale = has_outdated_files(task, now) and not now.missing
    if container.phase is Phase.CREATED:
        return Step(now.state, action=Action.RENEW if stale else Action.START)
    if container.health == "unhealthy":
        return Step(now.state, action=Action.STOP)
    if stale:
        return Step(now.state, action=Action.RENEW)
    if container.health == "starting":
        return Step(now.state, "starting" if now.refusal else "", now.refusal)
    return _serve(now, instant)


def _serve(now: Situation, instant: float) -> Step:
    """Call the task running when its program listens, or has not for too long; why it is not yet is soon said."""
    if not now.silent:
        return Step(TaskState.RUNNING, "started", now.refusal)
    waited = instant - now.ran_at
    ports = f"port{'s' if len(now.silent) > 1 else ''} {', '.join(map(str, now.silent))}/tcp"
    if waited >= LISTEN_SECONDS or now.state is TaskState.RUNNING:
        message = f"started, but its program did not listen on {ports} within {LISTEN_SECONDS:g} s"
        return Step(TaskState.RUNNING, message, now.refusal)
    pause = min(max(SHORTEST_LOOK, waited / 2), LONGEST_LOOK)
    if waited < UNSAID_SECONDS:
        return Step(now.state, wake_at=instant + pause)
    why = now.refusal or f"waiting for its program to listen on {ports}"
    return Step(now.state, "starting", why, wake_at=instant + pause)


def apply_event(container: Container, event: ContainerEvent, *, stopping: bool) -> tuple[Container, bool]:
    """Return what an event makes of a container, and whether the engine must be asked for more."""
    match event.action:
        case "kill" if event.signal:
            return replace(container, signal=event.signal), False
        case "oom":
            return replace(container, oom_killed=True), False
        case "health_status":
            return replace(container, health=event.health), event.health == "unhealthy"  # what did the check say?
        case "die" if stopping:
            return replace(container, phase=Phase.EXITED, exit_code=event.exit_code), False
    return container, event.action in ("die", "destroy", "start")


def has_outdated_files(task: Task, now: Situation) -> bool:
    """Whether the container is yet to get the secrets and configs that the task was given last."""
    return task.renewal is not None and task.spec_version not in (now.renewed, now.refused)


def _judge_exit(task: Task, now: Situation, container: Container, instant: float) -> Step:
    if now.contact is Contact.CONNECTED or now.state < TaskState.STARTING:
        return _judge_end(now, container)
    if now.contact is Contact.LOST:
        return Step(now.state)
    policy = task.spec.restart_policy or RestartPolicy()
    if not _restarts(task, policy, now, container):
        return _judge_end(now, container)
    due = now.ended_at + _delay(policy, now.restarts)
    return Step(now.state, action=Action.START) if instant >= due else Step(now.state, wake_at=due)


def _restarts(task: Task, policy: RestartPolicy, now: Situation, container: Container) -> bool:
    if policy.max_attempts and now.restarts >= policy.max_attempts:
        return False
    failed = bool(container.exit_code or container.signal)
    job = task.job_iteration is not None
    return policy.condition != "none" and (failed or (policy.condition == "any" and not job))


def _delay(policy: RestartPolicy, restarts: int) -> float:
    """Seconds to wait before a restart: the policy's delay, doubled with each restart, up to five minutes."""
    delay = DEFAULT_RESTART_DELAY if policy.delay is None else policy.delay
    return min(seconds(delay) * (1 << min(restarts, 30)), LONGEST_RESTART_DELAY)


def _judge_end(now: Situation, container: Container) -> Step:
    """Judge a container that has ended: complete only if it ended by itself, with 0."""
    if container.health == "unhealthy":
        # Docker's words, and where it would say that the task has completed, the same without a code.
        code = f"non-zero exit ({container.exit_code}): dockerexec: " if container.exit_code else ""
        return _fail(now, f"task: {code}unhealthy container")
    if container.exit_code or container.error:
        reason = f": {container.error}" if container.error else ""
        reason = ": out of memory" if container.oom_killed else reason
        return _fail(now, f"task: non-zero exit ({container.exit_code}){reason}")
    if container.signal:
        return _fail(now, f"task: stopped from outside the cluster (signal {container.signal})")
    return Step(TaskState.COMPLETE, "finished")


def _fail(now: Situation, err: str) -> Step:
    if now.state < TaskState.STARTING:
        return Step(TaskState.REJECTED, "preparing", err)
    return Step(TaskState.FAILED, "started" if now.state is TaskState.RUNNING else "starting", err)


def _running(now: Situation) -> bool:
    return now.container is not None and now.container.phase is Phase.RUNNING
