"""Plain containers of this host in the cluster's networks: addresses for them, and what becomes of them.

The manager has the container made, its user starts, stops and removes it: here nothing is ever done to it, but that
one which was connected later is told the cluster's name server. It cannot be given a file of ours any more, but the
engine's own file for it can be written. The engine leaves one alone that is not as it wrote it, until the container
starts again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar

import msgspec

from common.errors import SwarmError
from common.model.attachment import ATTACHMENT_LABEL, AttachedEnd, AttachmentStatus, NetworkAttachment
from common.model.container import ContainerSpec
from common.model.service import NetworkAttachmentConfig, PortConfig, TaskSpec
from common.model.task import Task
from common.wire.allowances import LONGEST_ERROR, fitting
from common.wire.messages import AttachmentReport, AttachmentState
from worker.interfaces.engine import (
    LABEL_LINKS,
    LABEL_NO_GATEWAY,
    Container,
    ContainerEvent,
    Engine,
    EngineConnected,
    EngineDown,
    EngineEvent,
    Phase,
)
from worker.interfaces.networks import Attachment, NetworkEndpoint, Networks
from worker.net.dns.resolv_conf import TARGET, write_in_place

RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


class ContainerAttachments:
    """All of them: one runner each, fed with attachments and with what the engine says. `run` until cancelled."""

    def __init__(self, engine: Engine, networks: Networks) -> None:
        self._engine = engine
        self._networks = networks
        self._runners: dict[str, _AttachmentRunner] = {}
        self._unsaid: dict[str, AttachmentStatus] = {}
        self._any = asyncio.Event()
        self._news = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Containers live on when it ends."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for runner in self._runners.values():
                self._start(group, runner)
            await self._any.wait()
            async with aclosing(self._engine.events({})) as events:
                async for event in events:
                    self._hear(event)

    def apply(self, attachments: Mapping[str, NetworkAttachment], *, complete: bool) -> None:
        """Take what an assignment set has, all of it. Their addresses are theirs from now on.

        `complete`: the manager has said everything anew, and hears what it does not know.
        """
        for runner in self._runners.values():
            if runner.record.id not in attachments:
                runner.leave()
        for record in attachments.values():
            runner = self._runners.get(record.id) or self._add(record)
            runner.update(record)
            if complete and runner.status != record.status:
                self._say(runner)

    async def take(self) -> AttachmentReport:
        """Wait until there is something to say, and return it."""
        while not self._unsaid:
            self._news.clear()
            await self._news.wait()
        unsaid = (AttachmentState(attachment_id=name, status=status) for name, status in self._unsaid.items())
        states = fitting(unsaid)
        for state in states:
            del self._unsaid[state.attachment_id]
        return AttachmentReport(attachments=states)

    def _add(self, record: NetworkAttachment) -> _AttachmentRunner:
        addresses = {end.network_id: end.address for end in record.status.ends if end.address}
        asked = {each.target: each.address for each in record.networks if each.address}
        try:
            self._networks.reserve(record.id, asked | addresses)
        except SwarmError as error:
            _log.warning("attachment %s of container %s: %s", record.id, record.name, error.message)
        runner = self._runners[record.id] = _AttachmentRunner(record, self._engine, self._networks, self._say)
        self._any.set()
        if self._group is not None:
            self._start(self._group, runner)
        return runner

    def _start(self, group: asyncio.TaskGroup, runner: _AttachmentRunner) -> None:
        group.create_task(self._live(runner), name=f"attachment {runner.record.id}")

    async def _live(self, runner: _AttachmentRunner) -> None:
        await runner.run()
        del self._runners[runner.record.id]
        self._unsaid.pop(runner.record.id, None)

    def _say(self, runner: _AttachmentRunner) -> None:
        self._unsaid[runner.record.id] = runner.status
        self._news.set()

    def _hear(self, event: EngineEvent) -> None:
        for runner in self._runners.values():
            if isinstance(event, EngineConnected) or (isinstance(event, ContainerEvent) and runner.may_be(event)):
                runner.wake()


class _AttachmentRunner:
    """Attaches one container, from its record to its end; the record is there before the container."""

    def __init__(
        self, record: NetworkAttachment, engine: Engine, networks: Networks, say: Callable[[_AttachmentRunner], None]
    ) -> None:
        self.record = record
        self.status = record.status
        self._engine = engine
        self._networks = networks
        self._say = say
        self._made_from: object = None
        self._attachment = Attachment()
        self._resolv: ResolvFile | None = None
        self._left = False
        self._woken = asyncio.Event()

    def update(self, record: NetworkAttachment) -> None:
        if record is not self.record:
            self.record = record
            self.wake()

    def leave(self) -> None:
        self._left = True
        self.wake()

    def wake(self) -> None:
        self._woken.set()

    def may_be(self, event: ContainerEvent) -> bool:
        """Whether an event may be about it; while it is not known which container it is, any start may."""
        known = self.record.container_id or self.status.container_id
        return event.container_id == known if known else event.action == "start"

    async def run(self) -> None:
        """Follow the container until the manager has forgotten it."""
        while not self._left:
            self._woken.clear()
            status, patience = await self._next()
            if status != self.status:
                self.status = status
                self._say(self)
            await self._wait(patience)
        if self._resolv is not None:
            self._resolv.give_back()
        await self._networks.release(self.record.id)

    async def _next(self) -> tuple[AttachmentStatus, float | None]:
        """Return how things stand, and after how many seconds to look again; None: when woken."""
        try:
            return await self._look(), None
        except EngineDown:
            # Woken when the engine is back; but one that only took too long was not away.
            return self.status, RETRY_SECONDS
        except SwarmError as error:
            why = error.message
        except Exception as error:  # noqa: BLE001 - a bug that one meets must not end the care for all others
            _log.exception("attachment %s of container %s: unexpected error", self.record.id, self.record.name)
            why = f"internal error of the worker: {error!r}"
        return msgspec.structs.replace(self.status, err=why[:LONGEST_ERROR]), RETRY_SECONDS

    async def _wait(self, patience: float | None) -> None:
        try:
            async with asyncio.timeout(patience):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _look(self) -> AttachmentStatus:
        attachment = await self._attach()
        status = AttachmentStatus(
            container_id=self.status.container_id,
            name=self.status.name,
            ends=tuple(map(_end, attachment.endpoints)),
            dns=attachment.dns,
            mounts=attachment.mounts,
        )
        container = await self._find()
        if container is None:
            known = self.record.container_id or self.status.container_id
            return msgspec.structs.replace(status, container_id=known, gone=bool(known))
        running = container.phase is Phase.RUNNING
        if running:
            self._tell_name_server(container)
        return msgspec.structs.replace(status, container_id=container.id, name=container.name, running=running)

    async def _attach(self) -> Attachment:
        record = self.record
        made_from = (record.networks, record.dns, record.publishes, record.gateway)
        if made_from != self._made_from:
            asked = {each.target: each.address for each in record.networks if each.address}
            self._networks.reserve(record.id, asked)
            self._attachment = await self._networks.attach(as_task(record))
            self._made_from = made_from
        return self._attachment

    async def _find(self) -> Container | None:
        known = self.record.container_id or self.status.container_id
        if not known:
            labelled = await self._engine.containers({ATTACHMENT_LABEL: self.record.id})
            known = labelled[0].id if labelled else ""
        return await self._engine.inspect(known) if known else None

    def _tell_name_server(self, container: Container) -> None:
        """Give a container the resolv.conf that it could not be made with: the engine writes its own at every start."""
        files = [mount for mount in self._attachment.mounts if mount.target == ResolvFile.TARGET]
        if not files or ResolvFile.TARGET in container.mounts or not container.resolv_conf:
            return
        if self._resolv is None:
            self._resolv = ResolvFile(files[0].source, container.resolv_conf)
        self._resolv.lend()


def as_task(record: NetworkAttachment) -> Task:
    """Return the task that has the same networks, as the host's networks know tasks alone."""
    networks = (NetworkAttachmentConfig(target=each.target, aliases=each.aliases) for each in record.networks)
    names = {name: other for each in record.networks for name, other in each.links.items()}
    links = msgspec.json.encode(names).decode() if names else ""
    return Task(
        id=record.id,
        spec=TaskSpec(container_spec=ContainerSpec(dns_config=record.dns), networks=tuple(networks)),
        service_name=record.name,
        ports=(PortConfig(),) if record.publishes else (),
        labels={**({} if record.gateway else {LABEL_NO_GATEWAY: ""}), **({LABEL_LINKS: links} if links else {})},
    )


def _end(end: NetworkEndpoint) -> AttachedEnd:
    return AttachedEnd(
        network=end.network,
        network_id=end.network_id,
        address=end.address,
        address6=end.address6,
        aliases=end.aliases,
    )


# --- resolv.conf ---


class ResolvFile:
    """`ours` is the file that the container should have, `theirs` the engine's; what that was is kept beside ours."""

    TARGET: ClassVar[str] = TARGET

    def __init__(self, ours: str, theirs: str) -> None:
        self._ours = Path(ours)
        self._theirs = Path(theirs)
        self._kept = self._ours.with_name(self._ours.name + ".own")

    def lend(self) -> None:
        """Write our content into the engine's file. Repeatable."""
        try:
            wanted, found = self._ours.read_bytes(), self._theirs.read_bytes()
            if wanted == found:
                return
            if not self._kept.exists():
                write_in_place(self._kept, found)
            write_in_place(self._theirs, wanted)
        except OSError as error:
            _log.warning("a container does not use the cluster's name server: %s", error)

    def give_back(self) -> None:
        """Put back what the engine had written, if the container is still there. Repeatable."""
        try:
            if self._theirs.exists() and self._kept.exists():
                write_in_place(self._theirs, self._kept.read_bytes())
            self._kept.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("cannot restore a container's own resolv.conf: %s", error)
