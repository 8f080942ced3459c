"""The state of a task's container: by the engine's events and lists, and by a look where these leave doubt."""

from __future__ import annotations

from dataclasses import replace

from common.model.task import TaskState
from worker.interfaces.engine import Container, ContainerEvent, Phase
from worker.tasks.plan import machine
from worker.tasks.task_run import Renewals, TaskRun


class ContainerWatch:
    """Keeps `run.now.container` up to date.

    stale: whether that is in doubt, so that `look` is due.
    discarding: whether we remove the container ourselves, and need not hear of it.
    """

    def __init__(self, run: TaskRun, renewals: Renewals, *, stale: bool) -> None:
        self.stale = stale
        self.discarding = False
        self._run = run
        self._renewals = renewals
        self._looking = False
        self._introduced = 0

    def check(self, listed: Container | None) -> None:
        """Compare with the engine's list of containers; have a closer look where it differs."""
        known = self._run.now.container
        if (known and known.phase) is not (listed and listed.phase):
            self.stale = True
            self._run.woken.set()

    def observe(self, event: ContainerEvent) -> None:
        container = self._run.now.container
        if container is None or container.id != event.container_id:
            return
        ours = (event.action == "start" and container.phase is not Phase.EXITED) or (
            event.action == "destroy" and self.discarding
        )
        if ours or self._renewals.sent(event):
            return
        container, unclear = machine.apply_event(container, event, stopping=self._run.now.stopping)
        self.stale = self.stale or self._looking or unclear
        self._run.note(container=container)
        self._run.woken.set()

    async def look(self) -> None:
        """Ask the engine for the container's present state."""
        run, known = self._run, self._run.now.container
        # Before the question: an event that overtakes the answer asks for another look.
        self.stale, self._looking = False, True
        try:
            found = await run.context.engine.inspect(known.id if known else run.task.name)
        finally:
            self._looking = False
        if found is not None and found.task_id != run.task.id:
            found = None
        if found is not None and run.now.container is not None:
            known = run.now.container
            found = replace(found, signal=known.signal, oom_killed=found.oom_killed or known.oom_killed)
        ended = found is not None and found.phase is Phase.EXITED
        ended_at = (run.now.ended_at or run.context.clock.now()) if ended else 0.0
        run.note(container=found, attempted=False, ended_at=ended_at)
        if found is not None:
            await self._introduce(found)

    async def listen(self) -> None:
        """Note on which published ports the program of a container without a health check does not listen yet."""
        run, container = self._run, self._run.now.container
        if container is None or run.now.state is not TaskState.STARTING or container.phase is not Phase.RUNNING:
            return
        silent = () if container.health else await run.context.networks.silent_ports(run.task, container)
        run.note(silent=silent, ran_at=run.now.ran_at or run.context.clock.now())

    async def _introduce(self, container: Container) -> None:
        """Make the container known to the networks: one from before, and each process of it that was started."""
        run, networks = self._run, self._run.context.networks
        if run.attachment is None:
            run.attachment = await networks.adopted(run.task, container)
        if container.phase is Phase.RUNNING and container.pid != self._introduced:
            await networks.started(run.task, container)
            self._introduced = container.pid
