"""The dispatcher: serves the workers' connections while this manager leads, and knows which worker is connected.

`run` does the background work and is owned by the application; `serve` is for connections that the reception took.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection
from typing import TypeVar

from common.aio.steady import keep_going
from common.clock import Clock, seconds
from common.errors import (
    FailedPrecondition,
    PermissionDenied,
    SwarmError,
    Unavailable,
)
from common.ids import new_id
from common.model import Node
from common.model.node import ANY_CERTIFICATE
from common.tls import Identity
from common.wire.allowances import SIZES
from common.wire.channel import Channel, PeerInfo, open_raw
from common.wire.handshake import OtherProtocol, identity_of
from common.wire.image_messages import RelayHello
from common.wire.manager_messages import NO_EPOCH, BecomeManager, WireEpoch
from common.wire.membership_messages import GoodbyeAck, Unfit, Withdraw
from common.wire.messages import (
    OLDEST_PROTOCOL,
    Hello,
    JoinReply,
    JoinRequest,
    LeaveAck,
    StreamHello,
    Welcome,
)
from manager.ca.authority import Authority
from manager.dispatch.attachments import apply_attachment_reports
from manager.dispatch.barrier import Barrier
from manager.dispatch.batch import WriteBatch
from manager.dispatch.directory import Directory
from manager.dispatch.images import ImageBroker
from manager.dispatch.liveness import Arrivals, Liveness, Losses
from manager.dispatch.managers import KnownManagers
from manager.dispatch.membership import Membership, member
from manager.dispatch.nodes import Down, Left, Ready, Withdrawn, apply_node_writes
from manager.dispatch.notices import SessionNotifier
from manager.dispatch.quota import Banned, Quota, Violation
from manager.dispatch.reception import WorkersOpening, is_same_host
from manager.dispatch.reports import apply_reports
from manager.dispatch.session import AWAY_GRACE, Session, SessionParts
from manager.dispatch.streams import EngineConnector, Streams
from manager.dispatch.validator import Validator
from manager.dispatch.volumes import apply_inventories
from manager.metrics.soft_state import SoftState
from manager.store.store import Store

T = TypeVar("T")

# A node is lost after so many heartbeat periods without a sign of life.
GRACE_PERIODS = 3
# How long after a join its first session must have begun: `swarm-worker join` waits for it no longer than 90 s.
JOIN_GRACE = 120.0
# What nodes get on top when a manager has just started: they must notice that the last one went, and dial.
RESTART_GRACE = 10.0
# How long what is asked of a node waits for one that is on its way back. Lists of all nodes' containers wait, too.
ARRIVAL_SECONDS = 3.0
# Somebody may have to tell every worker where the manager is now.
RESTORE_GRACE = 900.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """Serves the workers of a cluster.

    `manager_id` is this manager's own node, `managers` are those that workers are to use, `rng` is the source of ids:
    `random.SystemRandom` in production, as stream ids must not be guessed. `soft` is there before and after it;
    `relayed` hears of images' bytes. `epoch` is this leadership's, (0, 0) where one manager is all.
    """

    def __init__(
        self,
        store: Store,
        authority: Authority,
        clock: Clock,
        rng: random.Random,
        *,
        manager_id: str,
        managers: KnownManagers,
        soft: SoftState | None = None,
        relayed: Callable[[int], None] = lambda _: None,
        epoch: WireEpoch = (0, 0),
    ) -> None:
        self.soft = soft or SoftState.new(store.view, clock)
        self._store = store
        self._clock = clock
        self._rng = rng
        self._over = asyncio.Event()
        self._manager_id = manager_id
        self._managers = managers
        self._epoch = epoch
        self._validator = Validator(store.view, clock, lambda: managers.addresses, self.soft.refusals)
        self._membership = Membership(store, authority, clock, rng, self._validator)
        self._sessions: dict[str, Session] = {}
        self._quotas: dict[str, Quota] = {}
        self._streams = Streams(rng)
        self.images = ImageBroker(store, rng, self._sessions, self._streams, relayed)
        self._liveness = Liveness(self._lose)
        self._arrivals = Arrivals()
        self._parts = SessionParts(
            store=store,
            validator=self._validator,
            directory=Directory(store.view),
            reports=WriteBatch(store, apply_reports),
            nodes=WriteBatch(store, apply_node_writes),
            attachments=WriteBatch(store, apply_attachment_reports),
            volumes=WriteBatch(store, apply_inventories),
            renew=self._membership.renew,
            images=self.images,
            soft=self.soft,
            barrier=Barrier(self._sessions),
            managers=managers,
        )
        self._losses = Losses(store, self._parts.nodes, self._sessions)
        self._notifier = SessionNotifier(self._parts, self._sessions, self._forget)

    @property
    def connected(self) -> Collection[str]:
        """The ids of the nodes that have a session."""
        return self._sessions.keys()

    async def run(self) -> None:
        """Watch the store and the nodes until cancelled. Start it when the store is loaded, before `serve`."""
        self._expect_nodes()
        parts, notifier = self._parts, self._notifier
        work = {
            "changes": keep_going("the dispatcher's view", notifier.follow_changes),
            "measure": keep_going("what is measured", notifier.follow_measured),
            "revalidate": keep_going("refused descriptions", notifier.revalidate_descriptions),
            "managers": notifier.tell_managers(),
            "reports": parts.reports.run(),
            "nodes": parts.nodes.run(),
            "attachments": parts.attachments.run(),
            "volumes": parts.volumes.run(),
            "liveness": self._liveness.run(),
            "losses": self._losses.run(),
        }
        async with asyncio.TaskGroup() as group:
            for name, each in work.items():
                group.create_task(each, name=f"dispatch-{name}")

    # --- what the API uses --------------------------------------------------------------------------------------------

    async def open_stream(self, node_id: str, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream to something on a node (`engine`: its engine's API socket). The caller closes the writer.

        A node whose worker is on its way back is waited for, for a moment.

        Raises:
            Unavailable: the node is not connected, its worker says why not, or it did not answer in time.

        """
        return await self._stream(node_id, target, open_raw)

    def engine_connector(self, node_id: str) -> EngineConnector:
        """Make a connector for `aiohttp.ClientSession`, whose every connection ends at the node's engine."""
        return EngineConnector(lambda take: self._stream(node_id, "engine", take))

    async def _stream(self, node_id: str, target: str, take: Callable[[Channel], T]) -> T:
        if node_id not in self._sessions:
            await self._arrivals.wait(node_id, ARRIVAL_SECONDS)
        session = self._sessions.get(node_id)
        if session is None:
            node = self._store.view.nodes.get(node_id)
            name = f"{node.name} ({node_id})" if node is not None else node_id
            raise Unavailable(f"node {name} is not connected: look at 'node ls', and at the worker's log there")
        return await self._streams.open(node_id, target, session.send, take)

    async def promote(self, node_id: str, message: BecomeManager) -> None:
        """Have a node's worker make its host a manager.

        Raises:
            Unavailable: it is not connected.
            FailedPrecondition: it is of a release that cannot.

        """
        session = self._sessions.get(node_id)
        if session is None:
            raise Unavailable(f"the worker of node {node_id} is not connected")
        if not session.knows_managers:
            raise FailedPrecondition(f"the worker of node {node_id} is of a release before this one: upgrade its host")
        await session.send(message)

    async def applied(self) -> None:
        """Wait until all connected workers have applied what is decided now; slow ones are skipped after a while."""
        await self._parts.barrier.passed()

    # --- connections --------------------------------------------------------------------------------------------------

    async def serve(
        self, channel: Channel, opening: WorkersOpening, request_id: int, settle: Callable[[], None]
    ) -> None:
        """Serve a worker's connection to its end; call `settle` when it has served a purpose.

        Raises:
            SwarmError: why it ended.

        """
        work = asyncio.ensure_future(self._serve(channel, opening, request_id, settle))
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({work, over}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Unavailable("this manager no longer leads the cluster")
            await work
        finally:
            for each in (work, over):
                each.cancel()
            await asyncio.gather(work, over, return_exceptions=True)

    def end(self) -> None:
        """End all connections that are served: another manager leads, or none."""
        self._over.set()

    async def _serve(
        self, channel: Channel, opening: WorkersOpening, request_id: int, settle: Callable[[], None]
    ) -> None:
        if isinstance(opening, StreamHello | RelayHello):
            await self._open(channel, opening, settle)
        elif isinstance(opening, Hello):
            await self._serve_session(channel, opening, request_id, settle)
        else:
            await self._answer(channel, opening, request_id)
            settle()

    async def _open(self, channel: Channel, opening: StreamHello | RelayHello, settle: Callable[[], None]) -> None:
        match self._validator.validate(opening, identity_of(channel.peer).node_id):
            case StreamHello() as hello:
                await self._streams.arrived(channel, hello, settle)
            case RelayHello() as hello:
                await self.images.relay(channel, hello, settle)
            case _:
                raise PermissionDenied(f"{channel.peer} opened a stream that was not requested")

    async def _answer(self, channel: Channel, opening: JoinRequest | Withdraw | Unfit, request_id: int) -> None:
        match opening:
            case Withdraw():
                await self._take_back(channel, identity_of(channel.peer), request_id)
            case Unfit():
                await self._note_unfit(channel, opening, request_id)
            case JoinRequest():
                at = self._manager_id if is_same_host(channel.peer) else ""
                await channel.send(await self.join(opening, channel.peer.remote_address, at), request_id)

    async def note_refusal(self, peer: PeerInfo, error: OtherProtocol) -> None:
        """Let the record of a node say why it gets no session."""
        if peer.identity is not None:
            with contextlib.suppress(SwarmError):  # not a member of this cluster, or the store is unavailable
                await self._losses.refused(member(self._store.view, peer.identity), error.message)

    async def join(self, request: JoinRequest, source: str, at: str) -> JoinReply:
        """Let a host join that dialled from the address `source`; `at` is the node id of the manager on it, if any.

        Raises:
            SwarmError: it may not, or a field of its request is invalid.

        """
        joined = await self._membership.join(request, source, at, self._managers.addresses)
        _log.info("node %s (%s) joined from %s", joined.node_id, request.hostname, source)
        now = asyncio.get_running_loop().time()
        self._wait_for(joined.node_id, now, JOIN_GRACE)
        return joined

    async def _take_back(self, channel: Channel, identity: Identity, request_id: int) -> None:
        """Undo a node's join that failed on its host. A node that is not new leaves instead, and its record stays."""
        node = member(self._store.view, identity)
        is_new = node.joining is not None or self._clock.now() - node.created_at < JOIN_GRACE
        await self._parts.nodes.submit(Withdrawn(node.id) if is_new else Left(node.id))
        self._liveness.forget(node.id)
        _log.info("node %s (%s) cancels its join", node.id, node.name)
        await channel.send(LeaveAck(), request_id)

    async def _note_unfit(self, channel: Channel, opening: Unfit, request_id: int) -> None:
        """Record why a node has no session; one whose join is not complete is still waited for."""
        node = member(self._store.view, identity_of(channel.peer))
        await self._begin(node)
        said = self._validator.validate(opening, node.id)
        if node.joining is None and said is not None:
            session = self._sessions.get(node.id)
            if session is not None:
                session.end(Unavailable(said.reason))
            await self._parts.nodes.submit(Down(node.id, said.reason))
            self._liveness.forget(node.id)  # only now: if the store did not take it, the silence marks it down
        await channel.send(GoodbyeAck(), request_id)

    async def _begin(self, node: Node) -> Quota:
        """Count that a node's worker begins a session, or says why it has none.

        Raises:
            Banned: for what it did before; the node's record says so.
            ResourceExhausted: it does this too often.

        """
        now = asyncio.get_running_loop().time()
        quota = self._quotas.setdefault(node.id, Quota(now))
        try:
            quota.begin_session(now)
        except Banned as banned:
            with contextlib.suppress(Unavailable):
                await self._losses.refused(node, banned.why)
            raise
        return quota

    async def _serve_session(self, channel: Channel, hello: Hello, request_id: int, settle: Callable[[], None]) -> None:
        identity = identity_of(channel.peer)
        node = member(self._store.view, identity)
        quota = await self._begin(node)
        channel.expect(SIZES)
        heartbeat = self._heartbeat()
        grace = GRACE_PERIODS * heartbeat
        session = Session(
            new_id(self._rng), identity, channel, self._parts, quota, grace=grace, protocol=hello.protocol
        )
        self._enter(session)
        try:
            said = self._validator.hello(hello, node, channel.peer.remote_address)
            session.set_reported_hostname(hello.description.hostname)
            ready = Ready(node.id, said.description, said.advertise_addr, identity.serial, said.image_port)
            await self._parts.nodes.submit(ready)
            await session.greet(self._welcome(session, hello.protocol, heartbeat), request_id)
            settle()
            await session.run()
        except Violation as violation:
            await self._record_violation(node.id, quota, violation)
            raise
        finally:
            self._exit(session)

    async def _record_violation(self, node_id: str, quota: Quota, violation: Violation) -> None:
        """Ban a node for a while; its record says why once it is down, which follows as it is silent."""
        why = quota.record_violation(violation, asyncio.get_running_loop().time())
        node = self._store.view.nodes.get(node_id)
        if node is not None:
            with contextlib.suppress(Unavailable):
                await self._losses.refused(node, why)

    def _welcome(self, session: Session, protocol: int, heartbeat: float) -> Welcome:
        return Welcome(
            protocol=protocol,
            session_id=session.session_id,
            node_id=session.node_id,
            heartbeat=heartbeat,
            managers=self._managers.addresses,
            epoch=self._epoch if protocol > OLDEST_PROTOCOL else NO_EPOCH,
        )

    def _enter(self, session: Session) -> None:
        before = self._sessions.get(session.node_id)
        if before is not None:
            _log.warning(
                "node %s opened another session, from %s", session.node_id, session.channel.peer.remote_address
            )
            before.end(FailedPrecondition(f"another session of node {session.node_id} has begun"))
        self._sessions[session.node_id] = session
        self._arrivals.over(session.node_id)
        self._losses.back(session.node_id)
        self._liveness.watch(session.node_id, lambda: session.channel.last_received, lambda: session.patience)
        self.soft.contacts.begun(session.node_id, lambda: session.channel.last_received)

    def _exit(self, session: Session) -> None:
        session.unblock()
        if self._sessions.get(session.node_id) is not session:
            return
        del self._sessions[session.node_id]
        self._validator.session_ended(session.node_id)
        self.soft.contacts.ended(session.node_id, session.channel.last_received)
        if session.over or session.node_id not in self._store.view.nodes:
            self._liveness.forget(session.node_id)
            self._parts.barrier.back(session.node_id)
        elif self._liveness.watches(session.node_id):
            # The connection is gone, the node perhaps not: it has what is left of its grace to come back.
            self._arrivals.expect(session.node_id)
            grace = AWAY_GRACE if session.away else session.grace
            self._wait_for(session.node_id, session.channel.last_received, grace)

    def _wait_for(self, node_id: str, since: float, grace: float) -> None:
        """Give a node without a session `grace` seconds to come, or to come back, since an instant of the loop."""
        self._liveness.watch(node_id, lambda: since, lambda: grace)

    # --- background ---------------------------------------------------------------------------------------------------

    def _expect_nodes(self) -> None:
        """Give the nodes that were alive when the last leader ended, or the backup was made, time to come back."""
        started = asyncio.get_running_loop().time()
        for node in self._store.view.nodes:
            grace = _grace_after_start(node)
            if grace and not self._liveness.watches(node.id):
                self._wait_for(node.id, started, grace)
        ready = [node.id for node in self._store.view.nodes if node.agent and node.status.state == "ready"]
        self._parts.barrier.expect(ready, RESTART_GRACE)
        for node_id in ready:
            if node_id not in self._sessions:
                self._arrivals.expect(node_id)

    def _forget(self, object_id: str) -> None:
        """Forget a removed object, if it was a node."""
        self._quotas.pop(object_id, None)
        self._losses.forget(object_id)
        self._arrivals.over(object_id)
        self._parts.barrier.back(object_id)

    def _lose(self, node_id: str) -> None:
        self._losses.lost(node_id)
        self._arrivals.over(node_id)
        session = self._sessions.get(node_id)
        if session is not None:
            session.end(Unavailable(f"node {node_id} gave no sign of life for {session.patience:g} s"))

    def _heartbeat(self) -> float:
        return seconds(self._store.view.cluster.spec.dispatcher.heartbeat_period)


def _grace_after_start(node: Node) -> float:
    """Return for how many seconds a node is waited for after a manager's start; 0 if it is not."""
    if node.joining is not None:
        return JOIN_GRACE
    if not node.agent:
        return 0.0
    if node.status.state == "unknown" and ANY_CERTIFICATE in node.certificate_serials:
        return RESTORE_GRACE
    return {"ready": RESTART_GRACE, "disconnected": AWAY_GRACE}.get(node.status.state, 0.0)
