"""Carries out moves of volumes: opens the streams to both workers, joins them, and takes a move through its phases.

What must outlive this manager is in the store: the move and its phase. How far it is, is here in memory. A manager that
starts begins the passes anew, which costs what has changed since. Whatever fails before the commit ends at the source.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec.structs import replace

from common.clock import Clock
from common.errors import FailedPrecondition, SwarmError, Unavailable
from common.model import Transfer
from common.model.volume import volume_id
from common.wire.channel import splice
from common.wire.volume_copy import CONTROL, DATA, CopyCommand, CopyControl, CopyEvent, Ends, Order, begin
from manager.domain import transfers as rules
from manager.domain.transfer_progress import Gauge, TransferProgress
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.watch import Lagged

OpenStream: TypeAlias = Callable[[str, str], Awaitable[Ends]]

# Tries while tasks run, and the seconds between them: a worker that restarts is back by then.
MOST_TRIES = 20
RETRY_SECONDS = 5.0
# With the tasks stopped a move has this long, and twice the estimate of its last pass; then they start at the source.
LAST_SECONDS = 60.0
# How long tasks may take to stop, beyond what a worker gives them.
STOP_SECONDS = 180.0
# When one half fails, the other may say why within this time.
WORD_SECONDS = 2.0
# Moves at once: more would make each slower.
MOST_MOVES = 2
# Records of moves that have ended.
KEPT = 50

_log = logging.getLogger("manager.loops.transfers")


@dataclass(slots=True)
class Transfers:
    """Runs the moves of the store until cancelled; `progress` says how far they are."""

    store: Store
    clock: Clock
    open_stream: OpenStream
    progress: TransferProgress
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_MOVES))

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
            async with self._slots:
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
        """Begin again where a connection broke while the tasks run: what has come is not sent again."""
        for tries in range(MOST_TRIES):
            try:
                await self._once(transfer)
            except Unavailable as error:
                latest = self.store.view.transfers.get(transfer.id)
                if latest is None or latest.phase != "copying" or tries == MOST_TRIES - 1:
                    raise
                _log.warning("the move of volume %s goes on in a moment: %s", transfer.name, error.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _once(self, transfer: Transfer) -> None:
        rules.check_move(transfer, self.store.view)
        async with AsyncExitStack() as stack:
            copies = [await stack.enter_async_context(self._copy(transfer, name)) for name in transfer.volumes]
            gauge = self.progress.gauges[transfer.id]
            rest = sum([await each.settle(gauge) for each in copies])
            if transfer.max_downtime and rest > transfer.max_downtime:
                text = f"its tasks would be stopped for about {rest:.1f} s, longer than {transfer.max_downtime:g} s"
                raise FailedPrecondition(f"{text}: it changes too fast")
            await self._stop_tasks(transfer)
            try:
                async with asyncio.timeout(LAST_SECONDS + 2 * rest):
                    for each in copies:
                        await each.finish(gauge)
            except TimeoutError:
                raise FailedPrecondition("the last pass took too long: its tasks start at the source again") from None
            await self._commit(transfer)
            for each in copies:
                each.stop()

    @contextlib.asynccontextmanager
    async def _copy(self, transfer: Transfer, name: str) -> AsyncIterator[_Copy]:
        """Begin to copy one volume."""
        copy = self.store.view.volumes.get(volume_id(transfer.source, name))
        assert copy is not None, "the move was checked"
        key = f"{transfer.id}{transfer.volumes.index(name)}"
        like = Order(id=key, part="send", volume=name, data_id=copy.data_id, generation=copy.generation)
        orders = ((transfer.source, like), (transfer.target, replace(like, part="receive")))
        async with AsyncExitStack() as stack:
            sender, receiver = [
                CopyControl(*await self._open(stack, node_id, CONTROL, order)) for node_id, order in orders
            ]
            for half in (sender, receiver):
                await half.wait_for("prepared")
            data = [await self._open(stack, node_id, DATA, order) for node_id, order in orders]
            joined = asyncio.create_task(splice(data[0], data[1]))
            stack.push_async_callback(_end, joined)
            await sender.wait_for("ready")
            yield _Copy(name, copy.generation, sender, receiver)

    async def _open(self, stack: AsyncExitStack, node_id: str, target: str, order: Order) -> Ends:
        reader, writer = await self.open_stream(node_id, target)
        stack.callback(writer.close)
        return begin((reader, writer), order)

    async def _stop_tasks(self, transfer: Transfer) -> None:
        """Have the tasks with this data stop, and wait until they have."""

        def step(tx: Transaction) -> None:
            latest = tx.transfers.get(transfer.id)
            if latest is None or not latest.active:
                raise FailedPrecondition("the move was ended meanwhile")
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

    async def _commit(self, transfer: Transfer) -> None:
        def step(tx: Transaction) -> None:
            for value in rules.commit(transfer, tx, tx.now):
                tx.put(value)
            ended = [each for each in tx.transfers if not each.active]
            for each in sorted(ended, key=lambda each: each.updated_at)[:-KEPT]:
                tx.remove(each)

        await self.store.update(step)
        _log.info("volume %s is moved to node %s", ", ".join(transfer.volumes), transfer.target)

    async def _fail(self, transfer: Transfer, why: str) -> None:
        _log.warning("volume %s is not moved: %s", transfer.name, why)

        def step(tx: Transaction) -> None:
            latest = tx.transfers.get(transfer.id)
            if latest is not None and latest.active:
                tx.put(replace(latest, phase="failed", error=why))

        while True:
            try:
                await self.store.update(step)
            except Unavailable as error:
                _log.error("cannot store that a move has failed: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


@dataclass(slots=True)
class _Copy:
    """The copy of one volume, its halves ready."""

    name: str
    generation: int
    sender: CopyControl
    receiver: CopyControl

    async def settle(self, gauge: Gauge) -> float:
        """Make passes until the last one is due; return the seconds that it will take, as estimated."""
        while True:
            self.sender.tell(CopyCommand(do="pass"))
            passed = await self._passed(gauge)
            gauge.passes += 1
            if passed.next != "pass":
                return passed.rest

    async def finish(self, gauge: Gauge) -> None:
        """Make the last pass, and mark what has come as the newest."""
        self.sender.tell(CopyCommand(do="last"))
        passed = await self._passed(gauge)
        if not passed.digest:
            raise FailedPrecondition(f"the copy of volume {self.name} was not compared")
        self.receiver.tell(CopyCommand(do="mark", generation=self.generation + 1))
        await self.receiver.wait_for("marked")

    async def _passed(self, gauge: Gauge) -> CopyEvent:
        """Wait for the end of a pass; a receiver that fails meanwhile ends it, and knows best why."""

        def note(event: CopyEvent) -> None:
            gauge.done, gauge.left, gauge.seconds = event.done, event.left, event.seconds

        passing = asyncio.create_task(self.sender.wait_for("passed", tell=note))
        failing = asyncio.create_task(self.receiver.wait_for("failed"))  # which is raised
        try:
            await asyncio.wait({passing, failing}, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done() or passing.exception() is not None:
                await asyncio.wait({passing, failing}, timeout=WORD_SECONDS)
                reasons = [job.exception() for job in (failing, passing) if job.done()]
                raise min(filter(None, reasons), key=lambda error: isinstance(error, Unavailable))
            return passing.result()
        finally:
            for job in (passing, failing):
                job.cancel()
            await asyncio.wait({passing, failing})

    def stop(self) -> None:
        for half in (self.sender, self.receiver):
            half.tell(CopyCommand(do="stop"))


async def _end(job: asyncio.Task[None]) -> None:
    job.cancel()
    await asyncio.wait({job})
