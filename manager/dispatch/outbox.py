"""What the manager sends to one worker: assignments, then credentials, measurements, managers, when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from common.errors import ProtocolError, SwarmError
from common.model import RegistryLogin
from common.wire.channel import Channel
from common.wire.manager_messages import Managers
from common.wire.messages import OLDEST_PROTOCOL, Assignments, RegistryAuth, RenewCertificate
from common.wire.usage_messages import Measure, MeasureHost
from common.wire.volume_copy import ReportVolumes
from manager.ca.rotation import managed_step
from manager.dispatch.assignments import measure_for
from manager.dispatch.barrier import Progress
from manager.dispatch.directory import Directory
from manager.dispatch.feed import Feed
from manager.dispatch.managers import KnownManagers
from manager.metrics.contacts import Deliveries
from manager.overview.usage import STEP_SECONDS, Usages
from manager.store.store import Store
from manager.store.view import View

# Changes that follow each other within this time go out as one message.
GATHER_SECONDS = 0.010


class Outbox:
    """Keeps one worker up to date over `channel`; both sides speak `protocol`.

    `directory` says which changes concern the node, `usages` which services are measured, `deliveries` how late the
    worker applies what it was sent.

    `knows_managers`: whether the worker is of a release that knows of several managers. An older one gets neither their
    addresses nor the request to renew its certificate.
    """

    def __init__(
        self,
        node_id: str,
        channel: Channel,
        store: Store,
        directory: Directory,
        usages: Usages,
        managers: KnownManagers,
        deliveries: Deliveries,
        *,
        protocol: int,
    ) -> None:
        self._node_id = node_id
        self._channel = channel
        self._store = store
        self._usages = usages
        self.knows_managers = protocol > OLDEST_PROTOCOL
        self._managers = managers
        self._sent_managers = managers.addresses  # by the Welcome
        self._stale = asyncio.Event()
        self._feed = Feed(node_id, store.view, directory, self._stale.set)
        self._progress = Progress()
        self._deliveries = deliveries
        self._unsent: list[asyncio.Future[None]] = []
        self._ended_by: SwarmError | None = None
        self._logins: dict[str, RegistryLogin] = {}
        self._measured = Measure()
        self._measures_host = False
        self._volumes_asked = False
        self._to_renew = asyncio.Event()
        self._to_renew.set()
        self._renewed_to = 0

    def set_reported_hostname(self, hostname: str) -> None:
        """Set the host name that the worker reports."""
        self._feed.set_reported_hostname(hostname)

    def start_over(self) -> None:
        """Send a complete set of assignments next."""
        self._feed.start_over()

    def wake(self) -> None:
        """Send whatever has changed."""
        self._stale.set()

    def end(self, error: SwarmError) -> None:
        """Stop sending: `run` raises `error`."""
        self._ended_by = error
        self._stale.set()

    def check(self) -> None:
        """Raise what `end` was given, if it was called."""
        if self._ended_by is not None:
            raise self._ended_by

    def close(self) -> None:
        """Leave the directory, and release all who wait for the worker."""
        self._feed.close()
        self._follow_up()
        self._progress.end()

    @property
    def behind(self) -> bool:
        return self._progress.known and (self._stale.is_set() or self._progress.behind(self._feed.number))

    def caught_up(self) -> asyncio.Future[None]:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unsent.append(waiting)
        if not self._stale.is_set():
            self._follow_up()
        return waiting

    def note_applied(self, number: int) -> None:
        """Note that the worker has applied set `number`.

        Raises:
            ProtocolError: it was not sent such a set.

        """
        if number > self._feed.number:
            raise ProtocolError(f"node {self._node_id} has applied assignments that it was not sent: {number}")
        self._progress.applied(number)
        self._deliveries.applied(number, asyncio.get_running_loop().time())

    def expect_renewal(self) -> None:
        """Check whether the worker's certificate is of an earlier step of the authority; if so, have it renewed."""
        self._to_renew.set()

    async def have_renewed(self) -> None:
        """Tell the worker to renew its certificate whenever it should, if its release knows that message."""
        while self.knows_managers:
            await self._to_renew.wait()
            self._to_renew.clear()
            node, step = self._store.view.nodes.get(self._node_id), managed_step(self._store.view)
            if node is not None and node.certificate_step < step and self._renewed_to < step:
                self._renewed_to = step
                await self._channel.send(RenewCertificate())

    async def run(self) -> None:
        """Send changes until cancelled; errors as `Channel.send`, and that of `end`."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            self.check()
            messages = self._feed.take()
            self._follow_up()
            if messages:
                self._deliveries.sent(self._feed.number, asyncio.get_running_loop().time())
            for message in messages:
                await self._send_credentials(message)
                await self._channel.send(message)
            await self._send_measured()
            await self._send_managers()
            await self._ask_for_volumes()
            await asyncio.sleep(GATHER_SECONDS)

    def _follow_up(self) -> None:
        """Bind those who wait for this worker to its newest set, which has all that they wait for."""
        for waiting in self._unsent:
            self._progress.when(self._feed.number, waiting)
        self._unsent.clear()

    async def _send_measured(self) -> None:
        """Send what to measure, if that has changed."""
        store = self._store
        node = store.view.nodes.get(self._node_id)
        if node is not None and node.description.measures and not self._measures_host:
            self._measures_host = True
            await self._channel.send(MeasureHost(interval=STEP_SECONDS, clock=node.description.clock))
        measured = measure_for(store.view, self._node_id, self._usages.asked(store.clock.now()))
        if measured != self._measured:
            self._measured = measured
            await self._channel.send(measured)

    async def _send_managers(self) -> None:
        """Send the managers' addresses if they have changed, to workers that know the message."""
        present = self._managers.addresses
        if self.knows_managers and self._sent_managers is not present:
            self._sent_managers = present
            await self._channel.send(Managers(managers=present))

    async def _ask_for_volumes(self) -> None:
        """Ask for the host's volumes once, if the worker can report them."""
        node = self._store.view.nodes.get(self._node_id)
        if not self._volumes_asked and node is not None and node.description.volumes:
            self._volumes_asked = True
            await self._channel.send(ReportVolumes())

    async def _send_credentials(self, message: Assignments) -> None:
        services = (task.service_id for task in message.tasks)
        for auth in unsent_logins(self._store.view, services, self._logins):
            await self._channel.send(auth)


def unsent_logins(view: View, services: Iterable[str], sent: dict[str, RegistryLogin]) -> Iterator[RegistryAuth]:
    """Yield the credentials of these services that are not in `sent`, and add them there; removed ones are dropped."""
    for service_id in [each for each in sent if each not in view.registry_logins]:
        del sent[service_id]
    for service_id in dict.fromkeys(services):
        login = view.registry_logins.get(service_id)
        if login is not None and sent.get(service_id) is not login:
            sent[service_id] = login
            yield RegistryAuth(service_id=service_id, auth=login.auth)
