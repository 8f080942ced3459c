import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import Node
from manager.dispatch.batch import WriteBatch
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from manager.store.transaction import Transaction


class Apply:
    """Makes a node of every item, and notes which came together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, tx: Transaction, items: Sequence[str]) -> None:
        self.batches.append(list(items))
        for item in items:
            if item == "poison":
                raise ZeroDivisionError
            tx.put(Node(id=item))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with Store(MemoryBackend(), LoopClock()) as opened:
        yield opened


@pytest.fixture
def apply() -> Apply:
    return Apply()


@pytest.fixture
async def batch(store: Store, apply: Apply) -> AsyncIterator[WriteBatch[str]]:
    batch = WriteBatch(store, apply)
    running = asyncio.create_task(batch.run())
    yield batch
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_items_of_one_moment_are_one_transaction_in_order(
    store: Store, batch: WriteBatch[str], apply: Apply
) -> None:
    await asyncio.gather(*(batch.submit(f"n{number}") for number in range(100)))
    assert apply.batches == [[f"n{number}" for number in range(100)]]
    assert len(store.view.nodes) == 100


async def test_items_keep_their_submission_order_whoever_awaits_first(batch: WriteBatch[str], apply: Apply) -> None:
    first, second = batch.submit("n1"), batch.submit("n2")
    await asyncio.gather(second, first)
    assert apply.batches == [["n1", "n2"]]


async def test_a_bug_is_reported_to_its_callers_and_others_are_written(
    store: Store, batch: WriteBatch[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unavailable, match="internal error"):
        await batch.submit("poison")
    assert "ZeroDivisionError" in caplog.text
    await batch.submit("n1")
    assert "n1" in store.view.nodes


async def test_who_waits_when_it_ends_is_told(store: Store, apply: Apply) -> None:
    batch = WriteBatch(store, apply)
    running = asyncio.create_task(batch.run())
    waiting = batch.submit("n1")
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    await asyncio.gather(running, return_exceptions=True)
