"""A subscription hears all changes after its making, or that it has lost some."""

import asyncio

import pytest

from common.model import Service
from manager.store.changes import Change, ChangeSet
from manager.store.watch import Lagged, Subscription


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
