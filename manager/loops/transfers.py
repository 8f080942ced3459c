"""Carries out moves and copies of volumes, phase by phase.

The move and its phase are in the store, as they must outlive this manager; the progress is in memory. A new leader
starts the passes again, which costs what has changed since. Whatever fails before the commit leaves the data at the
source.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from msgspec.structs import replace

from common.clock import Clock
from common.errors import FailedPrecondition, SwarmError, Unavailable
from common.model import Transfer
from common.model.volume import volume_id
from common.wire.volume_copy import Order
from manager.domain import transfers as rules
from manager.domain.hostnames import node_name
from manager.domain.transfers import Gauge, TransferProgress
from manager.loops.progress_timeout import ProgressTimeout, least_rate
from manager.loops.volume_copies import Copy, OpenStream, Place, copying
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.watch import Lagged

# Tries while tasks run, and the seconds between them: a worker that restarts is back by then.
MOST_TRIES = 20
RETRY_SECONDS = 5.0
# Seconds that a leader which takes over in a last pass waits for nodes to connect: the tasks are stopped meanwhile.
TAKEOVER_SECONDS = 30.0
TAKEOVER_RETRY_SECONDS = 1.0
# With the tasks stopped a move has this long, and twice the estimate of its last pass; then they start at the source.
LAST_SECONDS = 60.0
# How long tasks may take to stop, beyond what a worker gives them.
STOP_SECONDS = 180.0
# Moves at once, as more would make each slower; and per node, so that a node that hangs blocks only its own.
MOST_MOVES = 4
MOST_OF_NODE = 2
# Seconds, plus the time to read the volume, for which a copy may be below the least rate (`ProgressTimeout`).
PATIENCE_SECONDS = 600.0
# Bytes a second that a host reads, and copies locally, however busy it is. A size is a worker's word, so it is capped.
READ_BYTES, CLONE_BYTES = 25e6, 10e6
MOST_SIZE = 1024**4
# After so many times its estimate a move is overdue: others no longer wait for it.
OVERDUE = 2
# Records of moves that have ended.
KEPT = 50

_log = logging.getLogger("manager.loops.transfers")


class MoveLimit:
    """Limits the moves under way, in all and per node.

    An overdue one counts for its own nodes only: its sender, which names the size and sends as slowly as it may, could
    otherwise block all others.
    """

    def __init__(self) -> None:
        self._timely = 0
        self._of_node: Counter[str] = Counter()
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def take(self, nodes: Collection[str], seconds: float) -> AsyncIterator[None]:
        """Wait until a move between these nodes may start; the block is the move, overdue after `seconds`."""
        while not self._are_free(nodes):
            await self._news.wait()
        self._timely += 1
        self._of_node.update(nodes)
        is_timely = True

        def give_way() -> None:
            nonlocal is_timely
            self._timely -= is_timely
            is_timely = False
            self._notify()

        overdue = asyncio.get_running_loop().call_later(seconds, give_way)
        try:
            yield
        finally:
            overdue.cancel()
            self._of_node.subtract(nodes)
            give_way()

    def _are_free(self, nodes: Collection[str]) -> bool:
        return self._timely < MOST_MOVES and all(self._of_node[each] < MOST_OF_NODE for each in nodes)

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


@dataclass(slots=True)
class Transfers:
    """Runs the moves and copies of the store until cancelled; `progress` says how far they are."""

    store: Store
    clock: Clock
    open_stream: OpenStream
    progress: TransferProgress
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _move_limit: MoveLimit = field(default_factory=MoveLimit)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            with self.store.watch() as changes:
                while True:
                    self._begin(group)
                    with contextlib.suppress(Lagged):
                        await changes.next()

    def _begin(self, group: asyncio.TaskGroup) -> None:
        for each in self.store.view.transfers:
            if each.active and each.id not in self._running:
                self._running[each.id] = group.create_task(self._move(each), name=f"move {each.name}")
        for transfer_id, job in list(self._running.items()):
            known = self.store.view.transfers.get(transfer_id)
            if known is None or known.phase == "failed":
                job.cancel()

    async def _move(self, transfer: Transfer) -> None:
        self.progress.gauges[transfer.id] = Gauge()
        try:
            overdue = OVERDUE * self._seconds(transfer)
            async with self._move_limit.take({transfer.source, transfer.target}, overdue):
                await self._retry(transfer)
        except SwarmError as error:
            await self._fail(transfer, error.message)
        except Exception as error:  # noqa: BLE001 - its tasks must start again; it is logged whole
            _log.exception("unexpected error in the move of volume %s", transfer.name)
            await self._fail(transfer, f"internal error: {error!r}")
        finally:
            self.progress.gauges.pop(transfer.id, None)
            self._running.pop(transfer.id, None)

    async def _retry(self, transfer: Transfer) -> None:
        """Try again when a connection broke while the tasks run; what has arrived is not sent again.

        If an earlier leader has stopped the tasks, nodes get a moment to connect to this one.
        """
        time = asyncio.get_running_loop().time
        end, tries = time() + TAKEOVER_SECONDS, 0
        while True:
            tries += 1
            try:
                await self._attempt(transfer)
            except Unavailable as error:
                latest = self.store.view.transfers.get(transfer.id)
                if latest is not None and latest.phase == "copying" and tries < MOST_TRIES:
                    pause = RETRY_SECONDS
                elif latest is not None and latest.phase == transfer.phase == "last" and time() < end:
                    pause = TAKEOVER_RETRY_SECONDS
                else:
                    raise
                _log.warning("the copying of volume %s goes on in a moment: %s", transfer.name, error.message)
                await asyncio.sleep(pause)
            else:
                return

    async def _attempt(self, transfer: Transfer) -> None:
        view = self.store.view
        if waits := rules.not_ready(transfer, view):
            raise Unavailable(waits)
        rules.check(transfer, view)
        if transfer.operation == "copy" and self._is_made(transfer):
            await self._commit(transfer, 0.0)
            return
        gauge, patience = self.progress.gauges[transfer.id], self._patience(transfer)
        source, target = (Place(each, node_name(view, each)) for each in (transfer.source, transfer.target))
        async with AsyncExitStack() as stack:
            async with patience.bound():
                copies = [
                    await stack.enter_async_context(
                        copying(self.open_stream, source, target, self._order(transfer, name), patience)
                    )
                    for name in transfer.volumes
                ]
                rest = sum([await each.settle(gauge) for each in copies])
            if transfer.max_downtime and rest > transfer.max_downtime:
                text = f"its tasks would be stopped for about {rest:.1f} s, longer than {transfer.max_downtime:g} s"
                raise FailedPrecondition(f"{text}: it changes too fast")
            if transfer.stops_tasks:
                await self._stop_tasks(transfer)
            held = await self._finish(transfer, copies, gauge, rest, patience)
            await self._commit(transfer, held)
            if transfer.delete_source:
                await self._remove_source(transfer, copies, patience)
            for each in copies:
                each.stop()

    def _is_made(self, transfer: Transfer) -> bool:
        """Whether a copy was complete already when the earlier leader ended."""
        there = self.store.view.volumes.get(volume_id(transfer.target, transfer.as_name))
        return there is not None and there.data_id == transfer.data_id and bool(there.generation)

    def _order(self, transfer: Transfer, name: str) -> Order:
        """Return the sender's order for one of the volumes."""
        copy = self.store.view.volumes.get(volume_id(transfer.source, name))
        assert copy is not None, "it was checked"
        return Order(
            id=f"{transfer.id}{transfer.volumes.index(name)}",
            part="send",
            volume=name,
            data_id=copy.data_id,
            generation=copy.generation,
            as_volume=transfer.as_name or name,
            as_data_id=transfer.data_id or copy.data_id,
            limit=self._limit(transfer),
            resumes=transfer.phase == "last",
            task=transfer.task,
        )

    def _patience(self, transfer: Transfer) -> ProgressTimeout:
        """Return the timeout of a transfer."""
        names = (node_name(self.store.view, node_id) for node_id in (transfer.source, transfer.target))
        return ProgressTimeout(self._seconds(transfer), least_rate(self._limit(transfer)), *names)

    def _limit(self, transfer: Transfer) -> float:
        return transfer.limit or rules.transfer_limit(self.store.view)

    def _seconds(self, transfer: Transfer) -> float:
        """Return for how many seconds nothing may arrive, such as while either half reads all that it has."""
        sent = sum(self._size(transfer.source, name) for name in transfer.volumes)
        had = sum(self._size(transfer.target, transfer.as_name or name) for name in transfer.volumes)
        if transfer.source == transfer.target:
            return PATIENCE_SECONDS + sent / min(CLONE_BYTES, self._limit(transfer) or CLONE_BYTES)
        return PATIENCE_SECONDS + (sent + had) / READ_BYTES

    def _size(self, node_id: str, name: str) -> int:
        """Return a volume's size in bytes, 0 if unknown, capped."""
        copy = self.store.view.volumes.get(volume_id(node_id, name))
        return min(max(0, copy.size), MOST_SIZE) if copy is not None else 0

    async def _finish(
        self, transfer: Transfer, copies: list[Copy], gauge: Gauge, rest: float, patience: ProgressTimeout
    ) -> float:
        """Run the last passes; return for how many seconds programs were paused."""
        if transfer.hold == "pause":  # the worker ends the pause by itself, and tasks are not stopped
            async with patience.bound():
                return sum([await each.finish(gauge, hold=True) for each in copies])
        try:
            async with asyncio.timeout(LAST_SECONDS + 2 * rest), patience.bound():
                return sum([await each.finish(gauge) for each in copies])
        except TimeoutError:
            raise FailedPrecondition("the last pass took too long: its tasks start at the source again") from None

    async def _remove_source(self, transfer: Transfer, copies: list[Copy], patience: ProgressTimeout) -> None:
        """Remove the source once the target was read back; after a failure it stays, with a note."""
        try:
            for each in copies:
                async with patience.bound():
                    await each.remove_source()
        except SwarmError as error:
            note = f"the old copy stays on {node_name(self.store.view, transfer.source)}: {error.message}"
        else:
            return

        def step(tx: Transaction) -> None:
            latest = tx.transfers.get(transfer.id)
            if latest is not None:
                tx.put(replace(latest, note=note))

        await self.store.update(step)

    async def _stop_tasks(self, transfer: Transfer) -> None:
        """Stop the tasks with this data, and wait until they have stopped."""

        def step(tx: Transaction) -> None:
            latest = tx.transfers.get(transfer.id)
            if latest is None or not latest.active:
                raise FailedPrecondition(rules.ENDED)
            tx.put(replace(latest, phase="last", stopped_at=latest.stopped_at or tx.now))

        with self.store.watch() as changes:
            await self.store.update(step)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    while rules.users(transfer, self.store.view):
                        with contextlib.suppress(Lagged):
                            await changes.next()
            except TimeoutError:
                names = ", ".join(task.name for task in rules.users(transfer, self.store.view))
                raise FailedPrecondition(f"these tasks did not stop within {STOP_SECONDS:g} s: {names}") from None

    async def _commit(self, transfer: Transfer, held: float) -> None:
        def step(tx: Transaction) -> None:
            copied = transfer.operation == "copy"
            values = rules.commit_copy(transfer, tx, held, tx.now) if copied else rules.commit(transfer, tx, tx.now)
            for value in values:
                tx.put(value)
            _forget(tx)

        await self.store.update(step)
        done = transfer.participle
        target = node_name(self.store.view, transfer.target)
        _log.info("volume %s is %s to node %s", ", ".join(transfer.volumes), done, target)

    async def _fail(self, transfer: Transfer, why: str) -> None:
        _log.warning("volume %s is not %s: %s", transfer.name, transfer.participle, why)

        def step(tx: Transaction) -> None:
            latest = tx.transfers.get(transfer.id)
            if latest is not None and latest.active:
                tx.put(replace(latest, phase="failed", error=why))
            _forget(tx)

        while True:
            try:
                await self.store.update(step)
            except Unavailable as error:
                _log.error("cannot store that a move has failed: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


def _forget(tx: Transaction) -> None:
    """Remove the oldest records of ended moves."""
    for each in rules.ended_moves(tx, KEPT):
        tx.remove(each)
