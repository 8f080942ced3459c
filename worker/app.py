"""The worker daemon: builds the pieces from the data directory, wires them, runs them. No logic."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress

import msgspec

from common.clock import SystemClock
from common.errors import FailedPrecondition, SwarmError
from common.process.daemon import Notifier
from common.version import version
from common.wire.membership_messages import Goodbye
from common.wire.messages import Leave
from common.wire.server import Server, serve
from worker.agent import Agent, HostParts
from worker.config import DataDir, WorkerConfig, is_manager_address
from worker.database import LocalDatabase
from worker.engine.driver import DockerEngine
from worker.host import locks, status_file
from worker.host.command import host_is_shutting_down
from worker.host.description import Identity
from worker.host.status_file import WorkerStatus
from worker.images.cleanup import DAY_SECONDS, FetchedImages
from worker.images.fetch import ImageFetcher
from worker.images.serve import ImageLink, ImageServer
from worker.interfaces.volumes import VolumeParts
from worker.link.conversation import ConversationParts
from worker.link.dialler import Credentials, TlsDialler
from worker.link.requests import Requests
from worker.link.session import Session
from worker.net.dataplane import choose_networks
from worker.tasks.supervisor import live
from worker.tasks.tmpfs import TmpfsFiles
from worker.volumes.holds import Holds
from worker.volumes.inventory import allocated
from worker.volumes.kept import KeptVolumes
from worker.volumes.marks import HostMarks
from worker.volumes.snapshots import TaskSnapshots
from worker.volumes.transfers import VolumeTransfers

STATUS_SECONDS = 1.0
# Until there is a manager: `join` reads who it is.
FIRST_STATUS_SECONDS = 0.1
# Until a status that could not be written is tried again.
RETRY_STATUS_SECONDS = 5.0
# `ready` waits for a manager's welcome, but not longer than this.
READY_SECONDS = 10.0

_log = logging.getLogger(__name__)


async def run(data_dir: DataDir, welcomed: Callable[[], None] = lambda: None) -> None:
    """Run the worker of a data directory until SIGTERM or SIGINT; its containers run on.

    `welcomed` is called when a manager has welcomed it, as often as one does.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    worker = _Daemon(data_dir, welcomed)
    daemon = asyncio.create_task(worker.run())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({daemon, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not daemon.done():
        await worker.part()
    for task in (daemon, stop):
        task.cancel()
    results = await asyncio.gather(daemon, stop, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]


class _Daemon:
    """The pieces of one process. `run` serves until cancelled, or raises why this worker cannot."""

    def __init__(self, data_dir: DataDir, welcomed: Callable[[], None] = lambda: None) -> None:
        self._data_dir = data_dir
        self._config: WorkerConfig = data_dir.load()
        self._notifier = Notifier.from_environment()
        self._clock = SystemClock()
        self._rng = random.SystemRandom()
        self._news = asyncio.Event()
        self._is_ready = False
        self._session: Session | None = None
        self._welcomed = welcomed

    async def part(self) -> None:
        """Tell the manager that this agent stops, so that it waits for the next one, or moves this host's tasks."""
        if self._session is not None and self._session.address:
            self._notifier.stopping()
            await self._session.part(await self._last_words())

    async def _last_words(self) -> Goodbye | Leave:
        """Return what the manager is to hear: the node leaves, its host goes down, or its agent may come back."""
        with locks.hold(locks.leave_of(self._data_dir.path)) as stays:
            if not stays:
                return Leave()
        return Goodbye(host=await host_is_shutting_down())

    async def run(self) -> None:
        credentials = Credentials(self._data_dir.credentials, self._clock, self._rng)
        engine = DockerEngine(self._config.docker_host, self._rng)
        try:
            with locks.hold(locks.engine_at(self._config.docker_host)) as ours, locks.hold(locks.NETWORK) as alone:
                if not ours:
                    raise FailedPrecondition(locks.engine_taken(self._config.docker_host))
                await self._serve(credentials, engine, alone=alone)
        finally:
            await engine.close()

    async def _serve(self, credentials: Credentials, engine: DockerEngine, *, alone: bool) -> None:
        """Build the pieces and run them; `alone`: whether no other worker programs this host's network."""
        config, data, clock = self._config, self._data_dir, self._clock
        database, requests, image_server = LocalDatabase(data.database), Requests(), ImageServer(engine, clock)
        networks = await choose_networks(data, config, engine, clock, requests.all_applied, alone=alone)
        fetched = FetchedImages(data.fetched_images, engine, requests, clock, config.keep_images * DAY_SECONDS)
        link = ImageLink(credentials.context, lambda: self._session.address if self._session is not None else "")
        listener = await _listen(config.image_port, credentials, image_server)
        marks, holds = HostMarks(), Holds(config.docker_host, data.copies)
        await holds.recover()
        host = HostParts(
            engine=engine,
            networks=networks,
            files=TmpfsFiles(data.files),
            memory=database,
            fetcher=ImageFetcher(engine, requests, link.dial, self._rng, fetched),
            volumes=self._volume_parts(engine, marks, holds),
        )
        agent = Agent(self._identity(listener), host, clock, self._news)
        copies = VolumeTransfers(engine, marks, data.copies, holds)
        dialler = TlsDialler(credentials, config.docker_host, image_server, copies, agent.metrics_page)
        session = self._session = self._make_session(
            ConversationParts(dialler, agent, agent.reporter, credentials, requests, image_server)
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.run())
                group.create_task(session.run())
                group.create_task(self._notifier.keep_alive())
                group.create_task(self._tell_status(agent, session, credentials))
                group.create_task(self._ready_alone())
                group.create_task(fetched.run(lambda: agent.supervisor.images))
                _log.info("worker %s of cluster %s started", config.node_id, config.cluster_id)
        finally:
            self._notifier.stopping()
            data.status.unlink(missing_ok=True)
            if listener is not None:
                await listener.close()
            await database.close()

    def _identity(self, listener: Server | None) -> Identity:
        return Identity(
            node_id=self._config.node_id,
            version=version(),
            advertise_addr=self._config.advertise_addr,
            image_port=listener.port if listener is not None else 0,
        )

    def _volume_parts(self, engine: DockerEngine, marks: HostMarks, holds: Holds) -> VolumeParts:
        return VolumeParts(
            marks=marks,
            measure=allocated,
            rng=self._rng,
            snapshots=TaskSnapshots(engine, marks, holds, self._data_dir.copies, self._rng),
            keeper=KeptVolumes(engine, marks, self._clock, self._rng),
        )

    def _make_session(self, parts: ConversationParts) -> Session:
        return Session(
            parts,
            managers=lambda: self._config.managers,
            clock=self._clock,
            rng=self._rng,
            news=self._news,
            epoch=self._config.epoch,
        )

    async def _tell_status(self, agent: Agent, session: Session, credentials: Credentials) -> None:
        """Write the status file whenever it changes: who serves us, what runs, where managers are."""
        last, mark = WorkerStatus(pid=0), status_file.process_mark(os.getpid())
        obstacle = ""
        while True:
            status = _status(agent, session, credentials, mark)
            try:
                if status != last:
                    # In a thread: to take the place of a file that is there may wait for a disk that engines keep busy.
                    await asyncio.to_thread(status_file.write, self._data_dir.status, status)
                    self._notifier.status(
                        f"{status.tasks_running} tasks run, session with {status.manager or 'no manager'}"
                    )
                    last = status
                self._learn(session)
                obstacle = ""
            except OSError as error:
                if str(error) != obstacle:
                    obstacle = str(error)
                    _log.warning("cannot write to %s: %s: trying again until it can", self._data_dir.path, error)
            if status.manager:  # after the file is written: `join` reads it then
                self._welcomed()
                self._ready()
            await asyncio.sleep(STATUS_SECONDS if self._is_ready else FIRST_STATUS_SECONDS)  # one file for many changes
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), RETRY_STATUS_SECONDS if obstacle else None)
            self._news.clear()

    async def _ready_alone(self) -> None:
        """Be ready without a manager, after a while: this host's tasks are cared for, and others may wait for us."""
        await asyncio.sleep(READY_SECONDS)
        self._ready()

    def _ready(self) -> None:
        if not self._is_ready:
            self._is_ready = True
            self._notifier.ready()

    def _learn(self, session: Session) -> None:
        """Keep where managers are, and which leadership was last believed: those of before are not, after a restart."""
        managers = tuple(filter(is_manager_address, session.told)) or self._config.managers
        config = msgspec.structs.replace(self._config, managers=managers, epoch=session.epoch)
        if config != self._config:
            self._data_dir.save(config)
            self._config = config


def _status(agent: Agent, session: Session, credentials: Credentials, process: str) -> WorkerStatus:
    """Return the status at this instant; `process` is this process's mark (`status_file.process_mark`)."""
    to_run = agent.supervisor.to_run
    return WorkerStatus(
        pid=os.getpid(),
        process=process,
        manager=session.address,
        refused=session.refused,
        since=session.since,
        tasks=len(to_run),
        tasks_running=live(to_run),
        engine=agent.description.engine.engine_version,
        certificate_until=credentials.valid_until,
        lacks=agent.description.lacks,
    )


async def _listen(port: int, credentials: Credentials, image_server: ImageServer) -> Server | None:
    """Serve images to other workers; where that cannot be, they come through the manager."""
    if not port:
        return None
    try:
        return await serve(None, port, credentials.peer_context(), image_server.handle, image_server.admission)
    except SwarmError as error:
        _log.warning("other workers fetch images from this host through the manager: %s", error.message)
        return None
