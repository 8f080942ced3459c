"""One task's owner: asks the task machine for the next step, carries it out, reports the state.

A `TaskRunner` is one coroutine from assignment to removal. Nothing else touches its container. What comes from outside
(a changed task, events, the engine's return) changes what it knows and wakes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from msgspec import structs

from common.aio.steady import PAUSE_SECONDS
from common.errors import InvalidArgument, SwarmError
from common.model.task import Task, TaskState, TaskStatus
from worker.engine import api as engine_api
from worker.interfaces import Attachment, Container, ContainerEvent, EngineDown, EngineError, EngineSilent, Phase
from worker.link.status_reports import StatusReports
from worker.tasks import slow_call
from worker.tasks.plan import container_spec, machine
from worker.tasks.plan.machine import Action, Contact, Situation, Step
from worker.tasks.renewal import Renewals
from worker.tasks.runner_context import RunnerContext

RETRY_SECONDS = 1.0
# After so long it is told what a task waits for that waits for the host's network.
NETWORK_SECONDS = 3.0

_log = logging.getLogger(__name__)


class TaskRunner:
    """Runs one task.

    container: the task's container when it is known to exist.
    looked: whether `container` (or its absence) is certain; if not, the engine is asked first.
    """

    def __init__(
        self,
        task: Task,
        context: RunnerContext,
        report: Callable[[str, TaskStatus], None],
        *,
        contact: Contact,
        container: Container | None = None,
        looked: bool = False,
    ) -> None:
        self.task = task
        self._reports = StatusReports(task, report, context.clock)
        self._context = context
        state = max(task.status.state, TaskState.ASSIGNED)
        self._now = Situation(
            state=state,
            contact=contact,
            container=container,
            attempted=not looked,
            renewed=task.status.renewed,
            refused=task.status.refused,
            refusal=task.status.err if task.refused else "",
        )
        self._attachment: Attachment | None = None
        self._stale = not looked or container is not None
        self._looking = False
        self._discarding = False
        self._introduced = 0
        self._unusable = ""
        self._image = ""
        self._image_missed = False
        self._woken = asyncio.Event()
        self._renewals = Renewals(context.files, context.engine)
        self._actions: dict[Action, Callable[[], Awaitable[None]]] = {
            Action.PULL: self._pull,
            Action.CREATE: self._create,
            Action.START: self._start,
            Action.RENEW: self._renew,
            Action.STOP: self._stop,
            Action.DISCARD: self._discard,
            Action.RELEASE: self._release,
        }

    @property
    def status(self) -> TaskStatus:
        """What was reported last."""
        return self._reports.last

    # --- what others tell it ------------------------------------------------------------------------------------------

    def update(self, task: Task) -> None:
        """Take the manager's newest word on the task; its own status is not changed by that."""
        if task is not self.task:
            self.task = task
            self._woken.set()

    def forget(self) -> None:
        """Remove all of it: the manager does not know the task any more."""
        if self.task.desired_state < TaskState.REMOVE:
            self.update(structs.replace(self.task, desired_state=TaskState.REMOVE))

    def set_contact(self, contact: Contact) -> None:
        if contact is not self._now.contact:
            self._note(contact=contact)
            self._woken.set()

    def wake(self) -> None:
        """Step again: something that all runners share has changed."""
        self._woken.set()

    def check(self, listed: Container | None) -> None:
        """Compare with the engine's list of containers; look closer where it differs."""
        known = self._now.container
        if (known and known.phase) is not (listed and listed.phase):
            self._stale = True
            self._woken.set()

    def observe(self, event: ContainerEvent) -> None:
        container = self._now.container
        if container is None or container.id != event.container_id:
            return
        ours = (event.action == "start" and container.phase is not Phase.EXITED) or (
            event.action == "destroy" and self._discarding
        )
        if ours or self._renewals.sent(event):
            return
        container, unclear = machine.apply_event(container, event, stopping=self._now.stopping)
        self._stale = self._stale or self._looking or unclear
        self._note(container=container)
        self._woken.set()

    # --- its life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Return when nothing of the task is left."""
        while True:
            self._woken.clear()
            try:
                if self._stale:
                    await self._look()
                await self._listen()
                step = await self._context.with_last_words(self.task, self._now, self._step())
                advanced = self._reports.enter(step, self._now, self._attachment)
                self._unusable = ""
                if advanced:
                    self._note(state=step.state)
                if step.done:
                    return
                if step.action is not None:
                    await self._perform(step.action)
                elif not advanced:
                    await self._wait(step.wake_at)
            except SwarmError as error:
                await self._wait_for_engine(error)
            except Exception:  # noqa: BLE001 - a bug that one task meets must not end the care for all others
                _log.exception("task %s: unexpected error: trying again later", self.task.name)
                self._stale = True
                await self._wait(self._context.clock.now() + PAUSE_SECONDS)

    async def _wait_for_engine(self, error: SwarmError) -> None:
        """Wait a moment for an engine that is away, or refuses to speak of this container; other runners go on."""
        why = error.message + (slow_call.hint(self.task) if isinstance(error, EngineSilent) else "")
        if why != self._unusable:  # it may be so for days
            level = logging.INFO if isinstance(error, EngineDown) else logging.WARNING
            _log.log(level, "task %s waits for the engine: %s", self.task.name, why)
            self._unusable = why
        if self._now.state < TaskState.RUNNING or not self._wanted:
            self._say_waits(why)
        self._stale = True
        await self._wait(self._context.clock.now() + RETRY_SECONDS)

    async def _listen(self) -> None:
        """See whether the program of a container without a health check takes requests yet."""
        container = self._now.container
        if container is None or self._now.state is not TaskState.STARTING or container.phase is not Phase.RUNNING:
            return
        silent = () if container.health else await self._context.networks.silent_ports(self.task, container)
        self._note(silent=silent, ran_at=self._now.ran_at or self._context.clock.now())

    def _step(self) -> Step:
        missing = self._context.materials.missing(self.task) if self._now.state <= TaskState.PREPARING else ()
        if machine.has_outdated_files(self.task, self._now):
            missing = self._context.materials.missing(self.task)
        self._note(missing=missing)
        return machine.step(self.task, self._now, self._context.clock.now())

    def _note(self, **what: Any) -> None:
        """Take note of what has changed of the situation."""
        self._now = structs.replace(self._now, **what)

    async def _wait(self, wake_at: float | None) -> None:
        try:
            async with asyncio.timeout(None if wake_at is None else max(0.0, wake_at - self._context.clock.now())):
                await self._woken.wait()
        except TimeoutError:
            return  # it is time for the next step

    async def _look(self) -> None:
        """Learn from the engine what has become of the container."""
        known = self._now.container
        # Before the question: an event that overtakes the answer asks for another look.
        self._stale, self._looking = False, True
        try:
            found = await self._context.engine.inspect(known.id if known else self.task.name)
        finally:
            self._looking = False
        if found is not None and found.task_id != self.task.id:
            found = None
        if found is not None and self._now.container is not None:
            known = self._now.container
            found = replace(found, signal=known.signal, oom_killed=found.oom_killed or known.oom_killed)
        ended = found is not None and found.phase is Phase.EXITED
        ended_at = (self._now.ended_at or self._context.clock.now()) if ended else 0.0
        self._note(container=found, attempted=False, ended_at=ended_at)
        if found is not None:
            await self._introduce(found)

    async def _introduce(self, container: Container) -> None:
        """Make the container known to the networks: one from before, and each process of it that was started."""
        if self._attachment is None:
            self._attachment = await self._context.networks.adopted(self.task, container)
        if container.phase is Phase.RUNNING and container.pid != self._introduced:
            await self._context.networks.started(self.task, container)
            self._introduced = container.pid

    # --- actions ------------------------------------------------------------------------------------------------------

    async def _perform(self, action: Action) -> None:
        try:
            await self._actions[action]()
        except EngineDown:
            raise
        except SwarmError as error:
            await self._failed(action, error.message)
        except Exception as error:  # noqa: BLE001
            # A bug that one task meets ends that task, not the agent and with it the care for all others.
            _log.exception("task %s: unexpected error in %s", self.task.name, action.value)
            await self._failed(action, f"internal error of the worker: {error!r}")

    async def _failed(self, action: Action, why: str) -> None:
        """Fail the task if it cannot be started; what removes it is tried again."""
        if action in (Action.PULL, Action.CREATE, Action.START):
            self._note(error=why)
            return
        if action is Action.RENEW:
            await self._refuse(why)
            return
        _log.warning("task %s: cannot %s yet: %s", self.task.name, action.value, why)
        self._stale = True
        await self._wait(self._context.clock.now() + RETRY_SECONDS)

    async def _while_wanted(self, work: Awaitable[None]) -> None:
        """Carry out something long; drop it when the task is not wanted any more."""
        doing = asyncio.ensure_future(work)
        doing.add_done_callback(lambda _: self._woken.set())
        try:
            while not doing.done() and self._wanted:
                self._woken.clear()
                await self._woken.wait()
        finally:
            doing.cancel()
            await asyncio.wait({doing})
        if not doing.cancelled():
            doing.result()

    async def _pull(self) -> None:
        await self._while_wanted(self._have_image())

    async def _have_image(self) -> None:
        spec = self.task.spec.container_spec
        if spec is None:
            raise InvalidArgument(f"a worker runs containers only, not {self.task.spec.runtime or 'something else'!r}")
        self._image = await self._context.images.ensure(spec.image, self.task.service_id, self._say)
        self._note(image_ready=True)

    def _say(self, message: str, err: str = "") -> None:
        self._reports.say(message, err, self._now, self._attachment)

    def _say_waits(self, why: str) -> None:
        """Report what the task waits for; why one has ended stays what it is."""
        if not self._now.state.terminal:
            self._say("waits for the engine", why)

    @contextmanager
    def _patiently(self, doing: str, after: float = slow_call.LATE_SECONDS) -> Iterator[None]:
        """Report it when the block, which has the engine do something with the container, takes long."""
        before = self.status

        def tell(taken: float) -> None:
            why = slow_call.not_done(doing, taken, self.task)
            _log.warning("task %s: %s", self.task.name, why)
            self._say_waits(why)

        with slow_call.tell_when_slow(tell, after):
            yield
        if self.status is not before:
            self._say(before.message, before.err)

    @property
    def _wanted(self) -> bool:
        return self.task.desired_state <= TaskState.COMPLETE

    async def _create(self) -> None:
        context, task = self._context, self.task
        expanded = context.expanded(task)
        spec = structs.replace(expanded, image=self._image or expanded.image)
        files = context.files_of(task, expanded)
        self._note(attempted=True, renewed=task.spec_version if task.renewal else 0)
        self._attachment = await self._attached()
        paths = context.files.write(task.id, files) if files else {}
        body = container_spec.create_body(task, spec, context.node_id, self._attachment, paths)
        try:
            async with context.gate.change():
                if not self._wanted:
                    return
                with self._patiently("creating"):
                    container_id = await context.engine.create(task.name, body)
        except EngineError as error:
            await self._not_created(error, expanded.image)
            return
        self._note(container=Container(id=container_id, task_id=task.id), attempted=False)

    async def _attached(self) -> Attachment:
        """Prepare the container's networks; report what that waits for, when it does not come at once."""
        task, networks, before = self.task, self._context.networks, self.status

        def tell(_taken: float) -> None:
            self._say("waits for the host's network", networks.hindrance(task))

        with slow_call.tell_when_slow(tell, NETWORK_SECONDS):
            attachment = await networks.attach(task)
        if self.status is not before:
            self._say(before.message, before.err)
        return attachment

    async def _not_created(self, error: EngineError, image: str) -> None:
        """Mend what a second try can: an image that has gone since it was seen, a container from a try before."""
        if error.http_status == 404 and "No such image" in error.message and not self._image_missed:
            self._image_missed = True
            self._context.images.forget(image)
            self._note(image_ready=False)
            return
        if error.http_status == 409:
            await self._look()
            if self._now.container is not None:
                return
            if await self._context.engine.inspect(self.task.name) is None:
                raise EngineSilent("the engine has not yet made the container that was requested before") from error
        raise error

    async def _start(self) -> None:
        container = self._now.container
        assert container is not None, "only a container that exists is started"
        again = container.phase is Phase.EXITED
        try:
            async with self._context.gate.change():
                if not self._wanted:
                    return
                with self._patiently("starting"):
                    await self._context.engine.start(container.id)
        except EngineError as error:
            raise EngineError(error.http_status, engine_api.start_error(error.message)) from error
        if again:
            _log.warning("task %s restarted here, as no manager can be reached", self.task.name)
            restarts = self._now.restarts + 1
            self._note(restarts=restarts, stopping=False, container=replace(container, signal=0))
        await self._look()

    async def _renew(self) -> None:
        """Give the container the content that its task has now."""
        context, task, container = self._context, self.task, self._now.container
        assert container is not None, "only a container that exists gets other files"
        await self._renewals.renew(task, container, context.files_of(task, context.expanded(task)))
        self._note(renewed=task.spec_version, refusal="")

    async def _refuse(self, why: str) -> None:
        """Note that the container cannot have the other content: the manager will say what becomes of the task."""
        before, version = self._now.container, self.task.spec_version
        await self._look()
        found = self._now.container
        if before and found and (found.phase, found.pid) == (before.phase, before.pid):  # else it has just ended
            why = f"cannot give the running container new secrets or configs: {why}"
            self._note(refused=version, refusal=why)

    async def _stop(self) -> None:
        container = self._now.container
        assert container is not None, "only a container that exists is stopped"
        self._note(stopping=True)
        await self._context.networks.drain(self.task)
        grace = container_spec.stop_grace(self.task)
        async with self._context.gate.stop():
            with self._patiently("stopping", grace + slow_call.LATE_SECONDS):
                await self._context.engine.stop(container.id, grace)
        stopped = self._now.container
        if stopped is None:
            return
        if stopped.phase is not Phase.EXITED and self.task.desired_state < TaskState.REMOVE:
            await self._look()  # its last event, which has the exit code, is still on the way
        else:
            exited = replace(stopped, phase=Phase.EXITED)
            self._note(container=exited, ended_at=self._context.clock.now())

    async def _discard(self) -> None:
        container = self._now.container
        async with self._context.gate.change():
            self._discarding = True
            try:
                with self._patiently("removing"):
                    await self._context.engine.remove(container.id if container else self.task.name)
            finally:
                self._discarding = False
        self._note(container=None, attempted=False)

    async def _release(self) -> None:
        await self._context.networks.release(self.task.id)
        self._context.files.remove(self.task.id)
        self._note(released=True)
