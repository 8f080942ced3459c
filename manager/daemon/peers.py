"""This manager and its peers: what it answers them, what it asks the leader, and what it tells clients of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from common.clock import Clock, boot_time, rfc3339
from common.errors import FailedPrecondition, PermissionDenied, SwarmError, Unavailable
from common.model import Node
from common.model.node import ManagerStatus
from common.tls import Identity
from common.wire.channel import Channel
from common.wire.codec import decode, encode
from common.wire.handshake import check_version, identity_of
from common.wire.manager_messages import (
    Elsewhere,
    Forwarded,
    ForwardJoin,
    Link,
    ManagerJoin,
    ManagerJoined,
    ManagerLeave,
    ManagerRenew,
    ReadAt,
    ReadIndex,
    StepTaken,
    Taken,
    WireEpoch,
)
from common.wire.messages import AnyMessage, JoinReply, JoinRequest, LeaveAck, RenewReply
from manager.api.access.roles import Caller, caller_from_record, caller_record
from manager.api.engine.connections import Duplex
from manager.daemon.member_reconciler import JOIN_SECONDS, MemberReconciler
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.links import ASK_SECONDS, Answer, Links, Question, member_manager
from manager.dispatch.managers import KnownManagers
from manager.domain.managers import address, is_awaited
from manager.loops.leadership import Leadership
from manager.store.backend import NotLeader
from manager.store.shared import SharedStore

T = TypeVar("T")

# How long what is for the leader waits for the next one, and a connection for a leader that hangs.
PATIENCE_SECONDS = 3.0
# The leader answers a host that joins when etcd has made room for it.
_JOIN_ANSWER_SECONDS = JOIN_SECONDS + ASK_SECONDS
# How long a client waits for a state that the leader has answered for.
_REACH_SECONDS = 1.0
_READ_SECONDS = 1.0
# A leader shows that it lives several times a second.
_SILENT_SECONDS = 10.0

_log = logging.getLogger(__name__)


class ManagerPeers:
    """The `OtherManagers` of the reception, the `Answers` of the links and the `Quorum` of the API, all three.

    `dispatcher` and `reconciler` return those of this leadership, None while this manager follows. `protocol` makes
    what serves a connection on which a caller's requests are passed on. `decide_alone`: others run etcd, and one
    manager that reaches it can decide. `trouble_of_etcd` returns what is wrong with this manager's own etcd.

    `links`, `leadership` and `protocol` are set before anything is served: to make them takes this object.
    """

    def __init__(
        self,
        store: SharedStore,
        clock: Clock,
        known: KnownManagers,
        node_id: str,
        *,
        dispatcher: Callable[[], Dispatcher | None],
        reconciler: Callable[[], MemberReconciler | None],
        decide_alone: bool = False,
    ) -> None:
        self._decide_alone = decide_alone
        self._store = store
        self._clock = clock
        self._known = known
        self._node_id = node_id
        self._dispatcher = dispatcher
        self._reconciler = reconciler
        self._began_leading = asyncio.Event()
        self._passed_on: dict[asyncio.Transport, Identity] = {}
        self.trouble_of_etcd: Callable[[], str] = lambda: ""
        self.links: Links
        self.leadership: Leadership
        self.protocol: Callable[[Caller], asyncio.Protocol]

    # --- who leads ----------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> WireEpoch:
        epoch = self._store.epoch
        return epoch.generation, epoch.number

    def note_leading(self) -> None:
        """Wake whoever waits for a leader: this manager leads from now on."""
        self._began_leading.set()
        self._began_leading = asyncio.Event()

    @property
    def leads(self) -> bool:
        return self._dispatcher() is not None

    @property
    def could_hand_over(self) -> bool:
        """Whether this manager leads and another could take over."""
        return self.leads and len(self._known.nodes) > 1

    def elsewhere(self) -> Elsewhere | None:
        if self.leads:
            return None
        record = self._store.leader
        led_here = record is not None and record.node_id == self._node_id
        leader = "" if record is None or led_here else record.addr
        return Elsewhere(leader=leader, managers=self._known.addresses, epoch=self.epoch)

    @property
    def leader_id(self) -> str:
        """The node of the leader, perhaps this manager's own; empty: none is known, or this one does not serve yet."""
        record = self._store.leader
        own = record is not None and record.node_id == self._node_id
        return "" if record is None or (own and not self.leads) else record.node_id

    # --- what others ask ----------------------------------------------------------------------------------------------

    async def link(self, channel: Channel, opening: Link, request_id: int, settle: Callable[[], None]) -> None:
        await self.links.serve(channel, opening, request_id, settle)

    async def answer(self, question: Question, manager_id: str) -> Answer:
        match question:
            case ReadIndex():
                return ReadAt(index=self.leadership.index(), epoch=self.epoch)
            case ManagerRenew():
                return await self._members().renew(question, manager_id)
            case StepTaken(step=step):
                await self._members().note_step(manager_id, step)
                return ReadAt(index=self._store.index, epoch=self.epoch)
            case ManagerLeave():
                await self._members().leave(manager_id)
                return LeaveAck()
            case ForwardJoin():
                return await self._join_here(_request_in(question.frame), question.address, question.at)

    async def take_request(self, channel: Channel, opening: Forwarded, settle: Callable[[], None]) -> None:
        member_manager(self._store.view, identity_of(channel.peer))
        told = self.elsewhere()
        if told is not None:
            await channel.send(told)
            return
        await channel.send(Taken())
        settle()
        identity = identity_of(channel.peer)
        self._passed_on[channel.detach(self.protocol(caller_from_record(opening.caller)))] = identity
        self._end_demoted()  # it may have been while that was sent

    async def end_demoted(self) -> None:
        """Until cancelled, cut off the requests that a manager passes on as soon as it is no longer a manager."""
        while True:
            moved = self._known.moved()
            self._end_demoted()
            await moved

    def _end_demoted(self) -> None:
        self._passed_on = {each: of for each, of in self._passed_on.items() if not each.is_closing()}
        for transport, identity in self._passed_on.items():
            try:
                member_manager(self._store.view, identity)
            except PermissionDenied as error:
                _log.info("the requests that it passes on are cut off: %s", error.message)
                transport.abort()

    async def withdraw(self, identity: Identity) -> Elsewhere | LeaveAck:
        told = self.elsewhere()
        if told is not None:
            return told
        await self._members().withdraw(member_manager(self._store.view, identity).id)
        return LeaveAck()

    async def join(self, request: JoinRequest | ManagerJoin, source: str, *, same_host: bool) -> AnyMessage:
        at = self._node_id if same_host else ""
        if self.leads:
            return await self._join_here(request, source, at)
        passed_on = ForwardJoin(frame=encode(request), address=source, at=at)
        return await self._ask_leader(passed_on, _JOIN_ANSWER_SECONDS)

    async def _join_here(self, request: JoinRequest | ManagerJoin, source: str, at: str) -> JoinReply | ManagerJoined:
        dispatcher = self._dispatcher()
        if isinstance(request, ManagerJoin):
            return await self._members().join(request, source)
        if dispatcher is None:
            raise NotLeader(self._store.leader)
        return await dispatcher.join(request, source, at)

    def _members(self) -> MemberReconciler:
        reconciler = self._reconciler()
        if reconciler is None:
            raise NotLeader(self._store.leader)
        return reconciler

    # --- what this one asks the leader --------------------------------------------------------------------------------

    async def renew(self, request: ManagerRenew) -> RenewReply:
        """Have this manager's next certificate signed.

        Raises:
            SwarmError: it could not be.

        """
        if self.leads:
            return await self._members().renew(request, self._node_id)
        answer = await self._ask_leader(request)
        assert isinstance(answer, RenewReply), "the answer to a ManagerRenew"
        return answer

    async def note_step(self, step: int) -> None:
        """Have the leader record that this manager has taken a step of the authority; wait until the store here has it.

        Raises:
            SwarmError: it could not be.

        """
        noted = await self._ask_leader(StepTaken(step=step))
        assert isinstance(noted, ReadAt), "the answer to a StepTaken"
        await self._store.reached(noted.index)

    async def catch_up(self) -> str:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                if not await self._leads_for_sure():
                    answer = await self.links.ask(self.leader_id, ReadIndex())
                    assert isinstance(answer, ReadAt), "the answer to a ReadIndex"
                    await self._store.reached(answer.index)
        except (SwarmError, TimeoutError):
            return self._stale()
        return ""

    async def _leads_for_sure(self) -> bool:
        """Return whether this manager leads. One that was suspended waits until it has heard whether another does."""
        while self.leads:
            try:
                self.leadership.index()
            except NotLeader:
                await self._store.heard()
            else:
                return True
        return False

    async def reached(self, index: int) -> None:
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                await self._store.reached(index)
        except TimeoutError:
            return  # the client may read an older state here: it was told what the leader said, and that holds

    async def connect(self, caller: Caller) -> Duplex:
        record = caller_record(caller)

        async def dial(leader_id: str) -> Duplex:
            if leader_id == self._node_id:
                return await self._open_here(caller)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return await self._while_it_leads(self.links.open_forward(leader_id, record))
            except TimeoutError:
                raise Unavailable(f"the leader did not answer within {PATIENCE_SECONDS:g} s") from None

        return await self._of_leader(dial)

    async def _open_here(self, caller: Caller) -> Duplex:
        """Connect to this manager's own API: it has come to lead while a request waited for the next leader."""
        near, far = socket.socketpair()
        served = caller_from_record(caller_record(caller))
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self.protocol(served), far)
        return await asyncio.open_connection(sock=near)

    async def _while_it_leads(self, dialled: Coroutine[Any, Any, T]) -> T:
        """Wait for a connection to the present leader; a host that hangs accepts connections and never answers.

        Raises:
            Unavailable: it no longer leads; nothing was sent.

        """
        dialling, lost = asyncio.ensure_future(dialled), asyncio.ensure_future(self.leader_lost())
        try:
            await asyncio.wait({dialling, lost}, return_when=asyncio.FIRST_COMPLETED)
            if dialling.done():
                return dialling.result()
            raise Unavailable("the leader was lost before it had answered")
        finally:
            for each in (dialling, lost):
                each.cancel()

    async def leader_lost(self) -> None:
        store = self._store
        epoch = store.epoch
        with contextlib.suppress(TimeoutError):
            while store.epoch == epoch and store.record is not None and not store.record.vacant:
                async with asyncio.timeout(_SILENT_SECONDS):
                    await store.heard()

    async def _ask_leader(self, question: Question, seconds: float = ASK_SECONDS) -> Answer:
        """Ask the leader, which may take so many seconds to answer; errors as `Links.ask`."""

        async def ask(leader_id: str) -> Answer:
            if leader_id == self._node_id:
                return await self.answer(question, leader_id)
            return await self.links.ask(leader_id, question, seconds)

        return await self._of_leader(ask)

    async def _of_leader(self, attempt: Callable[[str], Awaitable[T]]) -> T:
        """Attempt something with the leader, and with the next one if it fails with `Unavailable`.

        A leader is waited for during `PATIENCE_SECONDS`, in which the last attempt begins; it may last longer.

        Raises:
            Unavailable: there was no leader, or the last attempt's error; the message says what to do.
            SwarmError: what an attempt raised.

        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        failed: Unavailable | None = None
        while (left := until - loop.time()) > 0:
            news = [asyncio.ensure_future(each) for each in (self._store.heard(), self._began_leading.wait())]
            try:
                if self.leader_id:
                    return await attempt(self.leader_id)
                await asyncio.wait(news, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            except Unavailable as error:
                failed = error  # it may have gone; who leads next is seen in the store
                await asyncio.wait(news, timeout=max(0.0, until - loop.time()), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in news:
                    each.cancel()
        why = failed.message if failed is not None else "no manager leads just now"
        raise Unavailable(self.trouble or f"{why}: try again") from failed

    async def check_role(self, node: Node, role: str) -> None:
        if role == "manager":
            if not node.agent or node.status.state != "ready":
                raise FailedPrecondition(
                    f"node {node.name} cannot be promoted: its worker is not connected; run 'swarm-manager join' there"
                )
            return
        await self._members().check_demotion(node)

    async def leave(self) -> bool:
        if len(self._known.nodes) < 2:
            return False
        await self._ask_leader(ManagerLeave())
        return True

    # --- what clients are told ----------------------------------------------------------------------------------------

    def status_of(self, node: Node) -> ManagerStatus | None:
        if node.manager_status is None:
            return None
        record = self._store.leader
        leads = record is not None and record.node_id == node.id
        if self.links.reachable(node.id):
            reachability = "reachable"
        else:
            reachability = "unknown" if is_awaited(node) else "unreachable"  # one that joins has not come up yet
        return msgspec.structs.replace(node.manager_status, leader=leads, reachability=reachability)

    @property
    def trouble(self) -> str:
        managers = self._known.nodes
        missing = [node for node in managers if not self.links.reachable(node.id)]
        needed = 1 if self._decide_alone else len(managers) // 2 + 1
        there = len(managers) - len(missing)
        if there >= needed:
            return self.trouble_of_etcd()
        names = ", ".join(f"{node.name} ({address(node)})" for node in missing)
        return (
            f"no change can be made: {there} of {len(managers)} managers answer{'s' if there == 1 else ''}, {needed} "
            f"are needed; not reached: {names}. Start these managers again, or mend the network between them. If they "
            "are lost for good, run 'swarm-manager init --force-new-cluster' on one that is left"
        )

    def _stale(self) -> str:
        trouble = self.trouble or "the leader does not answer"
        since = self._clock.now() - (boot_time() - self._store.moved_at)
        return f"read only since {rfc3339(since)}: {trouble}; as of change {self._store.index}"


def _request_in(frame: bytes) -> JoinRequest | ManagerJoin:
    """Read the join that another manager passes on.

    Raises:
        ProtocolError: the frame cannot be decoded.
        PermissionDenied: it is not a join.
        FailedPrecondition: it is of another release.

    """
    message = decode(frame).message
    if not isinstance(message, JoinRequest | ManagerJoin):
        raise PermissionDenied(f"{type(message).__name__} is not passed on between managers")
    check_version(message.protocol)
    return message
