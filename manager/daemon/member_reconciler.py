"""How hosts become managers and stop being managers: the leader brings etcd's members to the store's managers.

`newcomers.py` has what happens before a host joins, and after that until its manager has come up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from common.aio.first import first_of
from common.errors import FailedPrecondition, PermissionDenied, Unavailable
from common.model.node import Node
from common.wire.manager_messages import ManagerJoin, ManagerJoined, ManagerRenew
from common.wire.messages import RenewReply
from manager.ca.keyring import Keyring
from manager.config import EtcdConfig
from manager.daemon.leader import Core
from manager.dispatch.links import Links
from manager.dispatch.manager_membership import ManagerMembership
from manager.domain.managers import is_awaited, managers
from manager.etcd import peer_url
from manager.orchestrate.etcd_members import (
    AddLearner,
    HandOver,
    Nothing,
    Promote,
    Remove,
    Step,
    next_step,
    node_of,
    reason_to_keep,
)
from manager.store.backends.etcd.api import NoAnswer
from manager.store.backends.etcd.members import Member, Members

# etcd refuses a change of members right after another one, and a vote for a member that has not caught up.
_AGAIN_SECONDS = 0.3
# How long a host that joins waits for its place in etcd, which takes one new member at a time.
JOIN_SECONDS = 30.0
_UNTOLD_SECONDS = 20.0
# The host that withdraws waits a little longer.
_LEAVE_SECONDS = 8.0

_log = logging.getLogger(__name__)


class MemberReconciler:
    """Brings etcd's members to the managers that the store has, while this manager leads.

    `etcd` changes etcd's members, or, where others run etcd, says how managers reach it. `keyring` returns the store's
    keys, `hand_over` lets another manager lead.
    """

    def __init__(
        self,
        core: Core,
        membership: ManagerMembership,
        etcd: Members | EtcdConfig,
        links: Links,
        *,
        keyring: Callable[[], Keyring],
        hand_over: Callable[[], None],
    ) -> None:
        self._members = etcd if isinstance(etcd, Members) else None
        self._external = etcd if isinstance(etcd, EtcdConfig) else None
        self._store = core.store
        self._membership = membership
        self._links = links
        self._known = core.managers
        self._keyring = keyring
        self._node_id = core.node_id
        self._hand_over = hand_over
        self._joining: dict[str, asyncio.Future[tuple[Member, ...]]] = {}
        # By the URL of a member that is to be removed, who waits for that.
        self._leaving: dict[str, asyncio.Future[None]] = {}
        # By the id of a learner, since when it was asked in vain how far it is.
        self._untold: dict[int, float] = {}
        self._news = asyncio.Event()

    async def join(self, request: ManagerJoin, source: str) -> ManagerJoined:
        """Make a host a manager: its row, its certificate, its place in etcd.

        Raises:
            SwarmError: it may not, or etcd accepts no member now; no trace of the host is left then.

        """
        joined = await self._membership.join(request, source)
        self._known.refresh()
        place = self._joining[joined.node_id] = asyncio.get_running_loop().create_future()
        self._news.set()
        if self._members is None:
            place.set_result(())
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                members = await place
        except TimeoutError:
            await self._membership.take_back(joined.node_id)
            raise Unavailable(
                f"etcd has not taken the new member within {JOIN_SECONDS:g} s: see 'swarm-manager status' and the "
                "leader's log, then join again"
            ) from None
        finally:
            del self._joining[joined.node_id]
        node = self._store.view.nodes.get(joined.node_id)
        if node is None or node.manager_status is None:
            raise PermissionDenied(f"node {joined.node_id} was demoted or removed while it joined: it gets no keys")
        keyring, root = self._keyring(), next(iter(self._store.view.root_keys))
        return replace(
            joined,
            keys=keyring.keys,
            current_key=keyring.current,
            root_key=root.key,
            peers=tuple(f"{self._name_of(each)}={each.peer_url}" for each in members),
            endpoints=self._external.endpoints if self._external is not None else (),
            etcd_files=self._external.files if self._external is not None else (),
        )

    async def renew(self, request: ManagerRenew, manager_id: str) -> RenewReply:
        """Sign a manager's next certificate; errors as `ManagerMembership.renew`."""
        return await self._membership.renew(request, manager_id)

    async def note_step(self, manager_id: str, step: int) -> None:
        """Record that a manager has taken a step of the authority; errors as `ManagerMembership.note_step`."""
        await self._membership.note_step(manager_id, step)

    async def check_demotion(self, node: Node) -> None:
        """Check that the cluster can do without a manager.

        Raises:
            FailedPrecondition: it cannot; the message says why.
            Unavailable: etcd does not answer.

        """
        if node.manager_status is None:
            return
        if len(managers(self._store.view)) == 1:
            raise FailedPrecondition("attempting to demote the last manager of the swarm")
        if self._members is None:
            return
        members = await self._members.list()
        if reason := reason_to_keep(node.id, members, self._reachable(members)):
            raise FailedPrecondition(
                f"can't remove member from the raft: this would result in a loss of quorum: {reason}"
            )

    async def leave(self, node_id: str) -> None:
        """Demote a manager that asks for it; errors as `check_demotion`."""
        node = self._store.view.nodes.get(node_id)
        if node is None:
            return
        await self.check_demotion(node)
        await self._membership.take_back(node_id, keep=True)

    async def withdraw(self, node_id: str) -> None:
        """Undo the join of a manager that failed on its host, and remove its member from etcd.

        One that has been heard of as a manager leaves; errors as `leave`.
        """
        node = self._store.view.nodes.get(node_id)
        if node is None or not is_awaited(node):
            await self.leave(node_id)
            return
        await self._membership.take_back(node_id, "its manager could not be started: see the log of its worker")
        _log.info("manager %s (%s) cancels its join", node.id, node.name)
        if self._members is not None:
            await self._until_removed(peer_url(node.etcd_addr))

    async def _until_removed(self, url: str) -> None:
        """Wait until etcd has removed a member, for 8 s at most: its host keeps its etcd running for so long."""
        gone = self._leaving[url] = asyncio.get_running_loop().create_future()
        self._news.set()
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await gone
        except TimeoutError:
            _log.warning("etcd has the member at %s for longer than its host waits for that", url)
        finally:
            del self._leaving[url]

    async def run(self) -> None:
        """Take steps until cancelled."""
        while True:
            self._news.clear()
            step = await self._step()
            pause = None if step == Nothing() else _AGAIN_SECONDS
            await first_of(self._news.wait(), self._known.moved(), within=pause)

    async def _step(self) -> Step:
        if self._members is None:
            return self._step_aside()
        try:
            members = await self._members.list()
            self._note_members(members)
            behind = await self._behind(members, self._members)
            step = next_step(self._node_id, self._wanted(), members, self._reachable(members), behind)
            await self._take(step, self._members)
        except Unavailable as error:
            _log.info("the managers' membership waits for etcd: %s", error.message)
            return Nothing(error.message)
        return step

    async def _behind(self, members: tuple[Member, ...], of: Members) -> list[Member]:
        """Return the learners that are up and still take over what they were sent.

        One that does not tell for `_UNTOLD_SECONDS` is not waited for: the leader may be silent then for a while.
        """
        now = asyncio.get_running_loop().time()
        behind: list[Member] = []
        for member in (each for each in members if each.learner and each.name):
            try:
                taken_over = await of.has_taken_over(member)
            except NoAnswer as error:
                since = self._untold.setdefault(member.id, now)
                if taken_over := now - since >= _UNTOLD_SECONDS:
                    _log.warning("%s gets a vote, and may not have caught up: %s", member.name, error.message)
            else:
                self._untold.pop(member.id, None)
            if not taken_over:
                behind.append(member)
        return behind

    def _step_aside(self) -> Step:
        """Let another manager lead if this one is to be demoted; others change the members of their etcd."""
        if self._node_id not in self._wanted():
            self._hand_over()
        return Nothing()

    async def _take(self, step: Step, of: Members) -> None:
        match step:
            case AddLearner():
                _log.info("manager %s becomes a member of etcd", step.node_id)
                self._note_members(await of.add_learner(step.peer_url))
            case Promote():
                await of.promote(step.member.id)
                _log.info("manager %s has a vote in etcd", step.member.name)
            case Remove():
                await of.remove(step.member.id)
                _log.info("%s is no longer a member of etcd", step.member.name or step.member.peer_url)
            case HandOver():
                self._hand_over()
            case Nothing():
                pass

    def _note_members(self, members: tuple[Member, ...]) -> None:
        """Wake who waits for a member of etcd: a host that joins until it is there, one that leaves until it is not."""
        wanted = self._wanted()
        theirs = {node_of(member, wanted) for member in members}
        for node_id, place in self._joining.items():
            if node_id in theirs and not place.done():
                place.set_result(members)
        there = {member.peer_url for member in members}
        for url, gone in self._leaving.items():
            if url not in there and not gone.done():
                gone.set_result(None)

    def _wanted(self) -> Mapping[str, str]:
        found = (node for node in managers(self._store.view) if node.etcd_addr)
        return {node.id: peer_url(node.etcd_addr) for node in found}

    def _reachable(self, members: tuple[Member, ...]) -> set[str]:
        """Return the managers that answer. One that joins counts as soon as its etcd runs: it has no store yet."""
        linked = {node.id for node in managers(self._store.view) if self._links.reachable(node.id)}
        started = {member.name for member in members if member.learner and member.name}
        return linked | started | self._joining.keys()

    def _name_of(self, member: Member) -> str:
        found: Node | None = next(
            (node for node in managers(self._store.view) if peer_url(node.etcd_addr) == member.peer_url), None
        )
        return member.name or (found.id if found is not None else "unknown")
