"""What is known of one task on this host, shared by its runner, its actions, and the watch over its container.

`TaskRun` is the situation, `StatusReports` what is reported of it, `Renewals` the change of secrets and configs while
the container runs.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import structs

from common.clock import Clock
from common.model.container import Mount
from common.model.task import ContainerStatus, Task, TaskState, TaskStatus
from worker.interfaces.engine import Container, ContainerEvent, Engine, Phase
from worker.interfaces.files import TaskFile, TaskFiles
from worker.interfaces.networks import Attachment
from worker.tasks.plan.machine import Contact, Situation, Step
from worker.tasks.runner_context import RunnerContext

# When what the engine does with a container takes so long, that is reported, and again each time the duration doubles.
SLOW_SECONDS = 15.0
_NAMED = 3

_log = logging.getLogger(__name__)


class TaskRun:
    """A task, its situation, and what was said of it.

    now: changed with `note`.
    attachment: what its container has of the networks, once that is known.
    woken: set when the situation may ask for another step.
    """

    def __init__(
        self,
        task: Task,
        context: RunnerContext,
        report: Callable[[str, TaskStatus], None],
        *,
        contact: Contact,
        container: Container | None,
        looked: bool,
    ) -> None:
        self.task = task
        self.context = context
        self.attachment: Attachment | None = None
        self.woken = asyncio.Event()
        self.now = Situation(
            state=max(task.status.state, TaskState.ASSIGNED),
            contact=contact,
            container=container,
            attempted=not looked,
            renewed=task.status.renewed,
            refused=task.status.refused,
            refusal=task.status.err if task.refused else "",
        )
        self._reports = StatusReports(task, report, context.clock)

    @property
    def status(self) -> TaskStatus:
        """What was reported last."""
        return self._reports.last

    @property
    def wanted(self) -> bool:
        """Whether the task is to run, or to complete."""
        return self.task.desired_state <= TaskState.COMPLETE

    def note(self, **what: Any) -> None:
        """Take note of what has changed of the situation."""
        self.now = structs.replace(self.now, **what)

    async def wait(self, wake_at: float | None) -> None:
        """Wait until something has changed, or until an instant (Unix seconds) at the latest."""
        try:
            async with asyncio.timeout(None if wake_at is None else max(0.0, wake_at - self.context.clock.now())):
                await self.woken.wait()
        except TimeoutError:
            return  # it is time for the next step

    # --- what is said -------------------------------------------------------------------------------------------------

    def enter(self, step: Step) -> bool:
        """Report a step's state if it is new; return whether the task has advanced."""
        advanced = self._reports.enter(step, self.now, self.attachment)
        if advanced:
            self.note(state=step.state)
        return advanced

    def say(self, message: str, err: str = "") -> None:
        """Report what is being done in the present state, or what keeps it from being done."""
        self._reports.say(message, err, self.now, self.attachment)

    def say_waiting(self, why: str) -> None:
        """Report that the task waits for the engine; why one has ended stays what it is."""
        if not self.now.state.terminal:
            self.say("waits for the engine", why)

    @contextmanager
    def reporting_when_slow(self, after: float, tell: Callable[[float], None]) -> Iterator[None]:
        """Have `tell` report it, with the seconds taken, when the block takes longer; then what was said before."""
        before = self.status
        with call_when_slow(tell, after):
            yield
        if self.status is not before:
            self.say(before.message, before.err)

    @contextmanager
    def reporting_slow_engine(self, doing: str, after: float = SLOW_SECONDS) -> Iterator[None]:
        """Report it when the block takes long; `doing` is what the engine does with the container: `creating`."""

        def tell(taken: float) -> None:
            why = describe_delay(doing, taken, self.task)
            _log.warning("task %s: %s", self.task.name, why)
            self.say_waiting(why)

        with self.reporting_when_slow(after, tell):
            yield


class StatusReports:
    """The status of one task as it was reported last, and how it is reported anew."""

    def __init__(self, task: Task, report: Callable[[str, TaskStatus], None], clock: Clock) -> None:
        self.last = task.status
        self._name = task.name
        self._task_id = task.id
        self._report = report
        self._clock = clock

    def enter(self, step: Step, now: Situation, attachment: Attachment | None) -> bool:
        """Report a step's state if that, or what is said in it, is new; return whether the task has advanced."""
        assert step.state >= now.state, f"task {self._task_id} moved back from {now.state} to {step.state}"
        advanced = step.state > now.state
        said = (self.last.message, self.last.err, self.last.renewed, self.last.refused)
        if advanced or (step.message and (step.message, step.err, now.renewed, now.refused) != said):
            self._tell(self._status(step, now, attachment))
            _log.log(_level(step), "task %s: %s %s", self._name, step.state.name.lower(), step.err or step.message)
        return advanced

    def say(self, message: str, err: str, now: Situation, attachment: Attachment | None) -> None:
        """Report what is being done in the present state, or what keeps it from being done."""
        if (message, err) == (self.last.message, self.last.err):
            return
        status = self._status(Step(now.state, message, err), now, attachment)
        same = self.last.state is status.state
        self._tell(structs.replace(status, timestamp=self.last.timestamp) if same else status)

    def _tell(self, status: TaskStatus) -> None:
        self.last = status
        self._report(self._task_id, status)

    def _status(self, step: Step, now: Situation, attachment: Attachment | None) -> TaskStatus:
        container, addresses = now.container, self.last.addresses
        if attachment is not None and container is not None:
            addresses = attachment.status_addresses()
        return TaskStatus(
            timestamp=self._clock.now(),
            state=step.state,
            message=step.message,
            err=step.err,
            container_status=_container_status(container) if container else self.last.container_status,
            ports=container.ports if container else (),
            addresses=addresses,
            hostname=(container.hostname if container else "") or self.last.hostname,
            renewed=now.renewed,
            refused=now.refused,
        )


def _level(step: Step) -> int:
    """Choose the log level of a new state: those on the way to running matter only to who looks for a fault."""
    if step.err:
        return logging.WARNING
    return logging.INFO if step.state >= TaskState.RUNNING else logging.DEBUG


def _container_status(container: Container) -> ContainerStatus:
    pid = container.pid if container.phase is Phase.RUNNING else 0
    return ContainerStatus(container_id=container.id, pid=pid, exit_code=container.exit_code)


class Renewals:
    """The changes of one task's files, and the signals that tell its program of them."""

    def __init__(self, files: TaskFiles, engine: Engine) -> None:
        self._files = files
        self._engine = engine
        self._sent = 0

    async def renew(self, task: Task, container: Container, files: Collection[TaskFile]) -> None:
        """Give the container these files, and send it the task's signal if any is new; it may not run yet.

        Raises:
            SwarmError: the container cannot be given them, or the signal not be sent.

        """
        runs = container.phase is Phase.RUNNING
        name = task.renewal.signal if task.renewal and runs else ""

        async def tell() -> None:
            if name:
                self._sent = getattr(signal, name, 0)
                await self._engine.signal(container.id, name)

        await self._files.replace(task.id, files, container.pid if runs else 0, tell)

    def sent(self, event: ContainerEvent) -> bool:
        """Whether an event is of the signal that was sent from here; it counts once."""
        ours = event.action == "kill" and bool(event.signal) and event.signal == self._sent
        if ours:
            self._sent = 0
        return ours


# --- an engine that is slow ---


@contextmanager
def call_when_slow(tell: Callable[[float], None], after: float = SLOW_SECONDS) -> Iterator[None]:
    """Call `tell` with the seconds that the block has taken, when these are `after`, twice as many, and so on."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(after, lambda: late(after))

    def late(taken: float) -> None:
        nonlocal timer
        tell(taken)
        timer = loop.call_later(taken, late, 2 * taken)

    try:
        yield
    finally:
        timer.cancel()


def describe_delay(doing: str, taken: float, task: Task) -> str:
    """Say that the engine is still `doing` something with a task's container, and where to look."""
    return f"the engine has been {doing} the container for {taken:.0f} s{where_to_look(task)}"


def where_to_look(task: Task) -> str:
    """Say where to look for what holds an engine up: it waits for what the container mounts more than for all else."""
    spec = task.spec.container_spec
    names = [_mount_name(mount) for mount in spec.mounts if mount.type != "tmpfs"] if spec is not None else []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    mounts = f" and {', '.join(names[:_NAMED])}{more}, which it mounts" if names else ""
    return f": look at `journalctl -u docker -u containerd` on the node{mounts}"


def _mount_name(mount: Mount) -> str:
    driver = mount.volume_options.driver_config if mount.volume_options is not None else None
    if mount.type != "volume":
        return mount.source
    what = f"volume {mount.source}".rstrip()
    if driver is None:
        return what
    share = driver.options.get("type", "")
    device = driver.options.get("device", "")
    told = ", ".join(filter(None, (driver.name and f"driver {driver.name}", share and f"{share} {device}".rstrip())))
    return f"{what} ({told})" if told else what
