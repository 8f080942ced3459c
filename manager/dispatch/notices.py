"""Notifies sessions of what concerns them: changes of the store, managers' addresses, what to measure."""

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


class SessionNotifier:
    """Notifies `sessions`, by node id. `forget` is called with the id of every object that was removed.

    Each of its coroutines runs until cancelled.
    """

    def __init__(self, parts: SessionParts, sessions: Mapping[str, Session], forget: Callable[[str], None]) -> None:
        self._parts = parts
        self._store = parts.store
        self._sessions = sessions
        self._forget = forget
        self._rebuild_at: float | None = None
        self._to_revalidate = asyncio.Event()

    async def follow_measured(self) -> None:
        """Tell workers when a client starts or stops looking at what their tasks use."""
        changed = asyncio.Event()
        self._parts.soft.usages.on_asked = changed.set
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

    async def follow_changes(self) -> None:
        """Notify the sessions of each change that concerns them."""
        with self._store.watch() as subscription:
            self._start_over()
            while True:
                try:
                    async with asyncio.timeout_at(self._rebuild_at):
                        batch = await subscription.next()
                except Lagged:
                    _log.warning("the dispatcher fell behind the store: every node gets a complete set of assignments")
                    self._start_over()
                    continue
                except TimeoutError:
                    self._start_over()
                    continue
                for change_set in batch:
                    self._notify(change_set)

    def _start_over(self) -> None:
        """Send every node a complete set of assignments, and end the sessions of those that are no longer nodes."""
        self._rebuild_at = None
        self._end_removed()
        self._parts.directory.rebuild()

    def _notify(self, change_set: ChangeSet) -> None:
        """Notify the sessions of changes. If a bug may have kept something from them, all start over soon."""
        for change in change_set.changes:
            if change.new is None:
                self._note_removal(change)
            elif isinstance(change.new, RootKey) or _manages(change.new):
                for session in self._sessions.values():
                    session.expect_renewal()
            if isinstance(change.new, Cluster):
                self._parts.soft.usages.on_asked()  # it may say of which services use is measured
            if _frees(change):
                self._to_revalidate.set()
        try:
            self._parts.directory.mark_changes(change_set.changes)
        except Exception:  # noqa: BLE001 - all other changes must still reach their nodes
            if self._rebuild_at is None:
                _log.exception("cannot tell which nodes changes concern: every node starts over in %g s", PAUSE_SECONDS)
                self._rebuild_at = asyncio.get_running_loop().time() + PAUSE_SECONDS

    def _note_removal(self, change: Change) -> None:
        self._forget(change.current.id)
        if isinstance(change.current, Node):
            self._parts.validator.forget(change.current.id)
            self._end_removed()

    async def tell_managers(self) -> None:
        """Tell workers the managers' addresses whenever they change."""
        while True:
            await self._parts.managers.moved()
            for session in self._sessions.values():
                session.send_managers()

    async def revalidate_descriptions(self) -> None:
        """Validate partly refused descriptions again when another node gives up a name or an address."""
        while True:
            await self._to_revalidate.wait()
            self._to_revalidate.clear()
            for node_id in self._parts.validator.partly_refused:
                description = self._parts.validator.revalidate(node_id)
                if description is not None:
                    with contextlib.suppress(Unavailable):  # the worker sends it again in its next session
                        await self._parts.nodes.submit(Described(node_id, description))

    def _end_removed(self) -> None:
        """End the sessions of nodes that are no longer in the store."""
        for session in self._sessions.values():
            if session.node_id not in self._store.view.nodes:
                session.end(PermissionDenied(f"node {session.node_id} was removed from the cluster"))


def _manages(value: StoredObject) -> bool:
    return isinstance(value, Node) and value.manager_status is not None


def _frees(change: Change) -> bool:
    """Whether this change may have freed a name or an address for another node."""
    old, new = change.old, change.new
    if not isinstance(old, Node) or not isinstance(new, Node):
        return isinstance(old, Node)
    return _session_facts(old) != _session_facts(new)


def _session_facts(node: Node) -> tuple[object, ...]:
    return node.member, node.name, node.status.addr, node.description.ipv6_addresses
