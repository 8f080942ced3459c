"""Carrying out the actions of a task's steps, on image, networks, files and container."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from msgspec import structs

from common.errors import InvalidArgument, SwarmError
from common.model.container import ContainerSpec, Mount
from common.model.task import Task, TaskState
from common.spec.slot_volumes import has_snapshots, snapshot_sources
from worker.engine import api as engine_api
from worker.interfaces.engine import Container, EngineDown, EngineError, EngineSilent, Phase
from worker.interfaces.networks import Attachment
from worker.tasks import task_run
from worker.tasks.container_watch import ContainerWatch
from worker.tasks.plan import container_spec
from worker.tasks.plan.machine import Action
from worker.tasks.task_run import Renewals, TaskRun

RETRY_SECONDS = 1.0
# A task that waits longer for the host's network reports what that waits for.
NETWORK_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Actions:
    """Carries out the actions of one task."""

    def __init__(self, run: TaskRun, watch: ContainerWatch, renewals: Renewals) -> None:
        self._run = run
        self._watch = watch
        self._renewals = renewals
        self._image = ""
        self._image_missed = False
        self._mounts: tuple[Mount, ...] = ()
        self._performers: dict[Action, Callable[[], Awaitable[None]]] = {
            Action.PULL: self._pull,
            Action.CREATE: self._create,
            Action.START: self._start,
            Action.RENEW: self._renew,
            Action.STOP: self._stop,
            Action.DISCARD: self._discard,
            Action.RELEASE: self._release,
        }

    async def perform(self, action: Action) -> None:
        """Carry out an action; what goes wrong with the task itself is noted.

        Raises:
            EngineDown: the engine is away, and the action is to be repeated when it is back.

        """
        try:
            await self._performers[action]()
        except EngineDown:
            raise
        except SwarmError as error:
            await self._failed(action, error.message)
        except Exception as error:  # noqa: BLE001
            # A bug that one task meets ends that task, not the agent and with it the care for all others.
            _log.exception("task %s: unexpected error in %s", self._run.task.name, action.value)
            await self._failed(action, f"internal error of the worker: {error!r}")

    async def _failed(self, action: Action, why: str) -> None:
        """Fail the task if it cannot be started; what removes it is tried again."""
        run = self._run
        if action in (Action.PULL, Action.CREATE, Action.START):
            run.note(error=why)
            return
        if action is Action.RENEW:
            await self._refuse(why)
            return
        _log.warning("task %s: cannot %s yet: %s", run.task.name, action.value, why)
        self._watch.stale = True
        await run.wait(run.context.clock.now() + RETRY_SECONDS)

    async def _while_wanted(self, work: Awaitable[None]) -> None:
        """Carry out long work; cancel it when the task is not wanted any more."""
        run = self._run
        doing = asyncio.ensure_future(work)
        doing.add_done_callback(lambda _: run.woken.set())
        try:
            while not doing.done() and run.wanted:
                run.woken.clear()
                await run.woken.wait()
        finally:
            doing.cancel()
            await asyncio.wait({doing})
        if not doing.cancelled():
            doing.result()

    async def _pull(self) -> None:
        await self._while_wanted(self._have_image())

    async def _have_image(self) -> None:
        run = self._run
        spec = run.task.spec.container_spec
        if spec is None:
            raise InvalidArgument(f"a worker runs containers only, not {run.task.spec.runtime or 'something else'!r}")
        self._image = await run.context.images.ensure(spec.image, run.task.service_id, run.say)
        run.note(image_ready=True)

    async def _create(self) -> None:
        run = self._run
        context, task = run.context, run.task
        expanded = context.expanded(task)
        spec = structs.replace(expanded, image=self._image or expanded.image)
        files = context.files_of(task, expanded)
        run.note(attempted=True, renewed=task.spec_version if task.renewal else 0)
        run.attachment = await self._attached()
        paths = context.files.write(task.id, files) if files else {}
        await context.check_volumes(task)
        if has_snapshots(task):
            await self._while_wanted(self._have_snapshots(task, spec))  # if not, it is not created either
            spec = structs.replace(spec, mounts=self._mounts)
        body = container_spec.create_body(task, spec, context.node_id, run.attachment, paths)
        try:
            async with context.limiter.change():
                if not run.wanted:
                    return
                with run.reporting_slow_engine("creating"):
                    container_id = await context.engine.create(task.name, body)
                context.note_volumes()
        except EngineError as error:
            await self._not_created(error, expanded.image)
            return
        run.note(container=Container(id=container_id, task_id=task.id), attempted=False)

    async def _have_snapshots(self, task: Task, spec: ContainerSpec) -> None:
        """Make the task's snapshots of volumes, which may take as long as the volumes are large."""
        run = self._run
        run.say(f"making its snapshot of volume {', '.join(snapshot_sources(task)) or 'here'}")
        self._mounts = (await run.context.with_snapshots(task, spec)).mounts

    async def _attached(self) -> Attachment:
        """Prepare the container's networks; report what that waits for, when it does not come at once."""
        run, networks = self._run, self._run.context.networks

        def tell(_taken: float) -> None:
            run.say("waits for the host's network", networks.hindrance(run.task))

        with run.reporting_when_slow(NETWORK_SECONDS, tell):
            return await networks.attach(run.task)

    async def _not_created(self, error: EngineError, image: str) -> None:
        """Repair what a retry can: an image that was removed meanwhile, a container that an earlier try left."""
        run = self._run
        if error.http_status == 404 and "No such image" in error.message and not self._image_missed:
            self._image_missed = True
            run.context.images.forget(image)
            run.note(image_ready=False)
            return
        if error.http_status == 409:
            await self._watch.look()
            if run.now.container is not None:
                return
            if await run.context.engine.inspect(run.task.name) is None:
                raise EngineSilent("the engine has not yet created the container that was requested earlier") from error
        raise error

    async def _start(self) -> None:
        run = self._run
        container = run.now.container
        assert container is not None, "only a container that exists is started"
        again = container.phase is Phase.EXITED
        if not again:  # the engine may have made a volume that had gone since it was looked at
            await run.context.check_volumes(run.task)
        try:
            async with run.context.limiter.change():
                if not run.wanted:
                    return
                with run.reporting_slow_engine("starting"):
                    await run.context.engine.start(container.id)
        except EngineError as error:
            raise EngineError(error.http_status, engine_api.start_error(error.message)) from error
        if again:
            _log.warning("task %s restarted here, as no manager can be reached", run.task.name)
            restarts = run.now.restarts + 1
            run.note(restarts=restarts, stopping=False, container=replace(container, signal=0))
        await self._watch.look()

    async def _renew(self) -> None:
        """Give the container the content that its task has now."""
        run = self._run
        context, task, container = run.context, run.task, run.now.container
        assert container is not None, "only a container that exists gets other files"
        await self._renewals.renew(task, container, context.files_of(task, context.expanded(task)))
        run.note(renewed=task.spec_version, refusal="")

    async def _refuse(self, why: str) -> None:
        """Note that the container cannot have the other content: the manager will say what becomes of the task."""
        run = self._run
        before, version = run.now.container, run.task.spec_version
        await self._watch.look()
        found = run.now.container
        if before and found and (found.phase, found.pid) == (before.phase, before.pid):  # else it has just ended
            why = f"cannot give the running container new secrets or configs: {why}"
            run.note(refused=version, refusal=why)

    async def _stop(self) -> None:
        run = self._run
        container = run.now.container
        assert container is not None, "only a container that exists is stopped"
        run.note(stopping=True)
        await run.context.networks.drain(run.task)
        grace = container_spec.stop_grace(run.task)
        async with run.context.limiter.stop():
            with run.reporting_slow_engine("stopping", grace + task_run.SLOW_SECONDS):
                await run.context.engine.stop(container.id, grace)
        stopped = run.now.container
        if stopped is None:
            return
        if stopped.phase is not Phase.EXITED and run.task.desired_state < TaskState.REMOVE:
            await self._watch.look()  # its last event, which has the exit code, is still on the way
        else:
            exited = replace(stopped, phase=Phase.EXITED)
            run.note(container=exited, ended_at=run.context.clock.now())

    async def _discard(self) -> None:
        run = self._run
        container = run.now.container
        async with run.context.limiter.change():
            self._watch.discarding = True
            try:
                with run.reporting_slow_engine("removing"):
                    await run.context.remove_container(run.task, container)
            finally:
                self._watch.discarding = False
        await run.context.remove_snapshots(run.task)
        run.note(container=None, attempted=False)

    async def _release(self) -> None:
        run = self._run
        await run.context.networks.release(run.task.id)
        run.context.files.remove(run.task.id)
        await run.context.remove_snapshots(run.task)
        run.note(released=True)
