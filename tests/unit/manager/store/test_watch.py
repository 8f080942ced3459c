"""A subscription hears all changes after its making, or that it has lost some."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from common.clock import LoopClock
from common.model import Node, Service
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change, ChangeSet
from manager.store.store import Store
from manager.store.watch import Lagged, Subscription


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with Store(MemoryBackend(), LoopClock()) as store:
        yield store


def change_set(index: int, changes: int = 1) -> ChangeSet:
    return ChangeSet(index, tuple(Change(None, Service(id=f"s{number}")) for number in range(changes)))


async def test_changes_that_wait_come_together_and_in_order() -> None:
    subscription = Subscription({}, 10)
    subscription.publish(change_set(1))
    subscription.publish(change_set(2, 3))
    assert [each.index for each in await subscription.next()] == [1, 2]


async def test_who_has_heard_everything_waits() -> None:
    subscription = Subscription({}, 10)
    subscription.publish(change_set(1))
    await subscription.next()
    waiting = asyncio.ensure_future(subscription.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    subscription.publish(change_set(2))
    assert [each.index for each in await waiting] == [2]


async def test_a_slow_reader_is_told_once_and_goes_on_from_there() -> None:
    subscription = Subscription({}, 3)
    subscription.publish(change_set(1, 2))
    subscription.publish(change_set(2, 2))
    with pytest.raises(Lagged):
        await subscription.next()
    subscription.publish(change_set(3))
    assert [each.index for each in await subscription.next()] == [3]


async def test_what_was_read_makes_room() -> None:
    subscription = Subscription({}, 3)
    for index in range(1, 5):
        subscription.publish(change_set(index, 3))
        assert [each.index for each in await subscription.next()] == [index]


async def test_a_closed_subscription_is_no_watcher() -> None:
    watchers: dict[Subscription, None] = {}
    with Subscription(watchers, 3) as subscription:
        assert list(watchers) == [subscription]
    assert not watchers
    subscription.close()


async def test_who_asks_for_kinds_hears_of_no_others(store: Store) -> None:
    with store.watch(kinds=(Service,)) as services, store.watch() as all_changes:
        await store.update(lambda tx: tx.put(Node(id="n")))
        await all_changes.next()
        waiting = asyncio.ensure_future(services.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        await store.update(lambda tx: (tx.put(Node(id="m")), tx.put(Service(id="s"))))
        (heard,) = await waiting
    assert {change.current.id for change in heard.changes} == {"m", "s"}


async def test_unread_changes_of_others_make_nobody_lag(store: Store) -> None:
    with store.watch(capacity=1, kinds=(Service,)) as services:
        for node_id in ("n", "m", "o"):
            await store.update(lambda tx, n=node_id: tx.put(Node(id=n)))
        await store.update(lambda tx: tx.put(Service(id="s")))
        assert len(await services.next()) == 1
