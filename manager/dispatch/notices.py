"""Telling the sessions what concerns them: changes of the store, managers that moved, what is to be measured."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping

from common.aio.steady import PAUSE_SECONDS
from common.errors import PermissionDenied, Unavailable
from common.model import Cluster, Node, RootKey, StoredObject
from manager.dispatch.nodes import Described
from manager.dispatch.session import Session, SessionParts
from manager.overview.usage import ASKED_SECONDS
from manager.store.changes import Change, ChangeSet
from manager.store.watch import Lagged

_log = logging.getLogger(__name__)


class Notices:
    """Keeps the sessions, by node id, told. `forget` hears the id of every record that was removed.

    Each of its coroutines runs until cancelled.
    """

    def __init__(self, parts: SessionParts, sessions: Mapping[str, Session], forget: Callable[[str], None]) -> None:
        self._parts = parts
        self._store = parts.store
        self._sessions = sessions
        self._forget = forget
        self._doubt_ends: float | None = None
        self._to_reconsider = asyncio.Event()

    async def measure_asked(self) -> None:
        """Tell workers when somebody begins to look at what tasks of theirs use, or has looked away."""
        changed = asyncio.Event()
        self._parts.soft.usages.told = changed.set
        before: Collection[str] = frozenset()
        while True:
            with contextlib.suppress(TimeoutError):  # then some may have looked away
                async with asyncio.timeout(ASKED_SECONDS if before else None):
                    await changed.wait()
            changed.clear()
            asked = self._parts.soft.usages.asked(self._store.clock.now())
            concerned = {
                task.node_id
                for service_id in frozenset(asked) ^ frozenset(before)
                for task in self._store.view.tasks.of_service(service_id)
            }
            before = asked
            for node_id in concerned & self._sessions.keys():
                self._sessions[node_id].measure()

    async def hear_changes(self) -> None:
        """Tell the sessions of what concerns them, as the store changes."""
        with self._store.watch() as subscription:
            self._start_over()
            while True:
                try:
                    async with asyncio.timeout_at(self._doubt_ends):
                        batch = await subscription.next()
                except Lagged:
                    _log.warning("the dispatcher fell behind the store: every node gets a complete set of assignments")
                    self._start_over()
                    continue
                except TimeoutError:
                    self._start_over()
                    continue
                for change_set in batch:
                    self._hear(change_set)

    def _start_over(self) -> None:
        """Send every node a complete set of assignments, and end the sessions of those that are no longer nodes."""
        self._doubt_ends = None
        self._end_removed()
        self._parts.directory.rebuild()

    def _hear(self, change_set: ChangeSet) -> None:
        """Tell the nodes of changes. After some that meet a bug nodes may lack something: soon all start over."""
        for change in change_set.changes:
            if change.new is None:
                self._hear_removal(change)
            elif isinstance(change.new, RootKey) or _manages(change.new):
                for session in self._sessions.values():
                    session.expect_renewal()
            if isinstance(change.new, Cluster):
                self._parts.soft.usages.told()  # it may say of which services use is measured
            if _frees(change):
                self._to_reconsider.set()
        try:
            self._parts.directory.hear(change_set.changes)
        except Exception:  # noqa: BLE001 - the nodes of all other changes must hear of theirs
            if self._doubt_ends is None:
                _log.exception("cannot tell which nodes changes concern: every node starts over in %g s", PAUSE_SECONDS)
                self._doubt_ends = asyncio.get_running_loop().time() + PAUSE_SECONDS

    def _hear_removal(self, change: Change) -> None:
        self._forget(change.current.id)
        if isinstance(change.current, Node):
            self._parts.door.forget(change.current.id)
            self._end_removed()

    async def tell_managers(self) -> None:
        """Let workers know where managers are, whenever that changes."""
        while True:
            await self._parts.managers.moved()
            for session in self._sessions.values():
                session.managers_moved()

    async def reconsider(self) -> None:
        """Believe what was not believed, when a node that had it has it no more."""
        while True:
            await self._to_reconsider.wait()
            self._to_reconsider.clear()
            for node_id in self._parts.door.doubted:
                description = self._parts.door.again(node_id)
                if description is not None:
                    with contextlib.suppress(Unavailable):  # it is said anew when the worker comes again
                        await self._parts.nodes.submit(Described(node_id, description))

    def _end_removed(self) -> None:
        """End the sessions of nodes that are no longer in the store."""
        for session in self._sessions.values():
            if session.node_id not in self._store.view.nodes:
                session.end(PermissionDenied(f"node {session.node_id} was removed from the cluster"))


def _manages(value: StoredObject) -> bool:
    return isinstance(value, Node) and value.manager_status is not None


def _frees(change: Change) -> bool:
    """Whether a name or an address may be another node's since this change."""
    old, new = change.old, change.new
    if not isinstance(old, Node) or not isinstance(new, Node):
        return isinstance(old, Node)
    return _session_facts(old) != _session_facts(new)


def _session_facts(node: Node) -> tuple[object, ...]:
    return node.member, node.name, node.status.addr, node.description.ipv6_addresses
