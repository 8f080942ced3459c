"""Carries out moves and copies of volumes, phase by phase.

What must outlive this manager is in the store: the move and its phase. How far it is, is here in memory. A manager that
starts begins the passes anew, which costs what has changed since. Whatever fails before the commit ends at the source.
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
from manager.domain.transfers import Gauge, TransferProgress
from manager.domain.volumes import node_name
from manager.loops.copy_patience import Patience, least_rate
from manager.loops.volume_copies import Copy, OpenStream, copying
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.watch import Lagged

# Tries while tasks run, and the seconds between them: a worker that restarts is back by then.
MOST_TRIES = 20
RETRY_SECONDS = 5.0
# A manager that takes over in a last pass waits so long for nodes that are not connected to it yet: tasks stand still.
TAKEOVER_SECONDS = 30.0
TAKEOVER_RETRY_SECONDS = 1.0
# With the tasks stopped a move has this long, and twice the estimate of its last pass; then they start at the source.
LAST_SECONDS = 60.0
# How long tasks may take to stop, beyond what a worker gives them.
STOP_SECONDS = 180.0
# Moves at once: more would make each slower. And of one node, so that one that hangs holds up its own alone.
MOST_MOVES = 4
MOST_OF_NODE = 2
# For so long, and the time that reading the volume takes, a copy may bring less than the least pace (`Patience`).
PATIENCE_SECONDS = 600.0
# What a host reads in a second, and copies on itself, however busy it is. The size is a worker's word: it has a bound.
READ_BYTES, CLONE_BYTES = 25e6, 10e6
MOST_SIZE = 1024**4
# After so many times that it is overdue: others do not wait for it any more.
OVERDUE = 2
# Records of moves that have ended.
KEPT = 50

_log = logging.getLogger("manager.loops.transfers")


class Turns:
    """Lets a move begin when neither all nodes together nor one of its own have too many under way.

    One that is overdue counts for its own nodes alone: how long it takes is its sender's word, who says how much it
    has, and sends it as slowly as it may.
    """

    def __init__(self) -> None:
        self._timely = 0
        self._of_node: Counter[str] = Counter()
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def take(self, nodes: Collection[str], seconds: float) -> AsyncIterator[None]:
        """Wait for a move's turn between these nodes; it is under way during the block, overdue after `seconds`."""
        while not self._are_free(nodes):
            await self._news.wait()
        self._timely += 1
        self._of_node.update(nodes)
        is_timely = True

        def give_way() -> None:
            nonlocal is_timely
            self._timely -= is_timely
            is_timely = False
            self._tell()

        overdue = asyncio.get_running_loop().call_later(seconds, give_way)
        try:
            yield
        finally:
            overdue.cancel()
            self._of_node.subtract(nodes)
            give_way()

    def _are_free(self, nodes: Collection[str]) -> bool:
        return self._timely < MOST_MOVES and all(self._of_node[each] < MOST_OF_NODE for each in nodes)

    def _tell(self) -> None:
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
    _turns: Turns = field(default_factory=Turns)

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
            async with self._turns.take({transfer.source, transfer.target}, overdue):
                await self._try_often(transfer)
        except SwarmError as error:
            await self._fail(transfer, error.message)
        except Exception as error:  # noqa: BLE001 - its tasks must start again; it is logged whole
            _log.exception("unexpected error in the move of volume %s", transfer.name)
            await self._fail(transfer, f"internal error: {error!r}")
        finally:
            self.progress.gauges.pop(transfer.id, None)
            self._running.pop(transfer.id, None)

    async def _try_often(self, transfer: Transfer) -> None:
        """Begin again where a connection broke while the tasks run: what has come is not sent again.

        Where another manager has stopped the tasks, nodes are given a moment to connect to this one.
        """
        time = asyncio.get_running_loop().time
        end, tries = time() + TAKEOVER_SECONDS, 0
        while True:
            tries += 1
            try:
                await self._once(transfer)
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

    async def _once(self, transfer: Transfer) -> None:
        view = self.store.view
        rules.check(transfer, view)
        if transfer.operation == "copy" and self._is_made(transfer):
            await self._commit(transfer, 0.0)
            return
        gauge, patience = self.progress.gauges[transfer.id], self._patience(transfer)
        ends = self.open_stream, transfer.source, transfer.target
        async with AsyncExitStack() as stack:
            async with patience.bound():
                copies = [
                    await stack.enter_async_context(copying(*ends, self._order(transfer, name), patience))
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
        """Whether a copy was whole already when the manager before ended."""
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

    def _patience(self, transfer: Transfer) -> Patience:
        """Return how slow it may be."""
        names = (node_name(node_id, self.store.view) for node_id in (transfer.source, transfer.target))
        return Patience(self._seconds(transfer), least_rate(self._limit(transfer)), *names)

    def _limit(self, transfer: Transfer) -> float:
        return transfer.limit or rules.transfer_limit(self.store.view)

    def _seconds(self, transfer: Transfer) -> float:
        """Return how long it may bring nothing, as while either half reads again all of what it has."""
        sent = sum(self._size(transfer.source, name) for name in transfer.volumes)
        had = sum(self._size(transfer.target, transfer.as_name or name) for name in transfer.volumes)
        if transfer.source == transfer.target:
            return PATIENCE_SECONDS + sent / min(CLONE_BYTES, self._limit(transfer) or CLONE_BYTES)
        return PATIENCE_SECONDS + (sent + had) / READ_BYTES

    def _size(self, node_id: str, name: str) -> int:
        """Return the bytes of a volume of a node, as far as that is known."""
        copy = self.store.view.volumes.get(volume_id(node_id, name))
        return min(max(0, copy.size), MOST_SIZE) if copy is not None else 0

    async def _finish(
        self, transfer: Transfer, copies: list[Copy], gauge: Gauge, rest: float, patience: Patience
    ) -> float:
        """Make the last passes; return for how many seconds programs were paused."""
        if transfer.hold == "pause":  # a worker ends that by itself, and nothing stands still meanwhile
            async with patience.bound():
                return sum([await each.finish(gauge, hold=True) for each in copies])
        try:
            async with asyncio.timeout(LAST_SECONDS + 2 * rest), patience.bound():
                return sum([await each.finish(gauge) for each in copies])
        except TimeoutError:
            raise FailedPrecondition("the last pass took too long: its tasks start at the source again") from None

    async def _remove_source(self, transfer: Transfer, copies: list[Copy], patience: Patience) -> None:
        """Remove what was moved, once the target was read back; what fails keeps it, and is noted."""
        try:
            for each in copies:
                async with patience.bound():
                    await each.remove_source()
        except SwarmError as error:
            note = f"the old copy stays on {node_name(transfer.source, self.store.view)}: {error.message}"
        else:
            return

        def step(tx: Transaction) -> None:
            latest = tx.transfers.get(transfer.id)
            if latest is not None:
                tx.put(replace(latest, note=note))

        await self.store.update(step)

    async def _stop_tasks(self, transfer: Transfer) -> None:
        """Have the tasks with this data stop, and wait until they have."""

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
        target = node_name(transfer.target, self.store.view)
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
    """Remove the oldest records of what has ended."""
    for each in rules.ended_moves(tx, KEPT):
        tx.remove(each)
