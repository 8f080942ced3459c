"""The generic loop: what wakes it, that it isolates a broken decision, and that its timers bring keys back."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from common.aio.steady import PAUSE_SECONDS
from common.clock import CLOCK_CHECK_SECONDS, LoopClock
from common.model import Network, Service, StoredObject
from common.model.network import NetworkSpec
from common.model.service import ServiceSpec
from common.model.update import UpdateState, UpdateStatus
from manager.loops.allocation import allocation_rule, attachment_rule, tunnel_keys_rule
from manager.loops.loop import Alarms, Loop, Rule
from manager.loops.orchestration import orchestration_rules
from manager.loops.root_rotation import root_rotation_rule
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change, Decision
from manager.store.store import Store
from manager.store.tables import Tables
from manager.store.view import View
from tests.fakes.structs import Scalars, structs
from tests.fakes.virtual_loop import run_virtual


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with Store(MemoryBackend(), LoopClock()) as opened:
        yield opened


class Recorder:
    """A decider that marks each service once, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.wake: dict[str, float] = {}
        self.poison = ""
        self.unclear = ""

    def decide(self, view: View, keys: Collection[str], now: float, rng: random.Random) -> Decision:
        self.asked.append(tuple(keys))
        if self.poison in keys:
            raise RuntimeError("a bug")
        marked = []
        for key in keys:
            service = view.services.get(key)
            if service is not None and service.update_status is None:
                marked.append(msgspec.structs.replace(service, update_status=UpdateStatus(state=UpdateState.COMPLETED)))
        wake, self.wake = self.wake, {}
        return Decision(put=tuple(marked), wake_at={key: now + delay for key, delay in wake.items()})

    def rule(self, limit: int = 200) -> Rule:
        def keys(change: Change, _view: View) -> list[str]:
            if change.current.id == self.unclear:
                raise RuntimeError("a bug")
            return [change.current.id]

        return Rule("test", (Service,), keys, lambda view: [s.id for s in view.services], self.decide, limit)


async def put(store: Store, *names: str) -> None:
    for name in names:
        await store.update(lambda tx, n=name: tx.put(Service(id=n, spec=ServiceSpec(name=n))))  # type: ignore[misc]


def marked(store: Store) -> set[str]:
    return {s.id for s in store.view.services if s.update_status is not None}


async def until(store: Store, ready: Callable[[], bool]) -> None:
    with store.watch() as changes:
        while not ready():
            await changes.next()


async def run_with(store: Store, recorder: Recorder, limit: int = 200) -> asyncio.Task[None]:
    return asyncio.create_task(Loop(recorder.rule(limit), store, LoopClock(), random.Random(1)).run())


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_goes_over_everything_at_start_then_follows_changes(store: Store) -> None:
    await put(store, "a", "b")
    task = await run_with(store, Recorder())
    await until(store, lambda: marked(store) == {"a", "b"})
    await put(store, "c")
    await until(store, lambda: marked(store) == {"a", "b", "c"})
    await stop(task)


async def test_a_decider_with_a_bug_for_one_key_serves_the_others(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, "a", "bad", "b")
    recorder = Recorder()
    recorder.poison = "bad"
    task = await run_with(store, recorder)
    await until(store, lambda: marked(store) == {"a", "b"})
    assert not task.done()
    assert "cannot decide 'bad'" in caplog.text
    await stop(task)


def test_keys_hidden_by_a_bug_are_visited_later_others_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            recorder = Recorder()
            recorder.unclear = "bad"
            task = await run_with(store, recorder)
            await asyncio.sleep(1)
            await put(store, "bad", "a")
            await asyncio.sleep(1)
            assert marked(store) == {"a"}
            await put(store, "b")
            await asyncio.sleep(1)
            assert marked(store) == {"a", "b"}
            await asyncio.sleep(PAUSE_SECONDS)
            assert marked(store) == {"a", "b", "bad"}
            await stop(task)

    run_virtual(story())
    # The mark that the decision itself makes is a change like any other: it is met, and told, once more.
    told = [record for record in caplog.records if "cannot tell what the change of bad concerns" in record.message]
    assert len(told) == 2


async def test_no_more_keys_than_the_limit_are_decided_at_once(store: Store) -> None:
    await put(store, *(f"s{n}" for n in range(7)))
    recorder = Recorder()
    task = await run_with(store, recorder, limit=3)
    await until(store, lambda: len(marked(store)) == 7)
    assert max(len(keys) for keys in recorder.asked) == 3
    await stop(task)


async def test_a_change_does_not_wait_for_a_pass_over_everything(store: Store) -> None:
    names = [f"s{n}" for n in range(30)]
    await put(store, *names)
    recorder = Recorder()
    task = await run_with(store, recorder, limit=3)
    await until(store, lambda: bool(marked(store)))
    await put(store, "new")
    await until(store, lambda: marked(store) == {"new", *names})
    when = next(number for number, keys in enumerate(recorder.asked) if "new" in keys)
    assert when < 5, recorder.asked
    await stop(task)


async def test_a_pass_goes_on_while_changes_never_end(store: Store) -> None:
    names = [f"s{n}" for n in range(5)]
    await put(store, *names)
    recorder = Recorder()
    decide = recorder.decide

    def busy(view: View, keys: Collection[str], now: float, rng: random.Random) -> Decision:
        """Change one service with every decision, so that it is dirty again by the next one."""
        decision = decide(view, keys, now, rng)
        again = view.services.get("busy") or Service(id="busy", spec=ServiceSpec(name="busy"))
        return dataclasses.replace(decision, put=(*(each for each in decision.put if each.id != "busy"), again))

    rule = dataclasses.replace(recorder.rule(limit=1), decide=busy)
    task = asyncio.create_task(Loop(rule, store, LoopClock(), random.Random(1)).run())
    await until(store, lambda: set(names) <= marked(store))
    await stop(task)


async def test_decisions_that_take_long_are_of_fewer_keys(store: Store) -> None:
    await put(store, *(f"s{n}" for n in range(4)))
    recorder = Recorder()

    def decide(view: View, keys: Collection[str], now: float, rng: random.Random) -> Decision:
        time.sleep(0.11)
        return recorder.decide(view, keys, now, rng)

    rule = dataclasses.replace(recorder.rule(), decide=decide)
    task = asyncio.create_task(Loop(rule, store, LoopClock(), random.Random(1)).run())
    await until(store, lambda: len(marked(store)) == 4)
    assert [len(keys) for keys in recorder.asked[:3]] == [2, 1, 1]
    await stop(task)


def test_a_pass_begins_with_few_keys_and_takes_more_when_quick() -> None:
    """How long one takes is not known before: a new leader that begins with many would keep a client waiting."""

    async def story() -> None:
        async with Store(MemoryBackend(), LoopClock()) as store:
            await put(store, *(f"s{n:02}" for n in range(20)))
            recorder = Recorder()
            task = await run_with(store, recorder)
            await until(store, lambda: len(marked(store)) == 20)
            assert [len(keys) for keys in recorder.asked[:3]] == [2, 4, 8]
            await stop(task)

    run_virtual(story())


async def test_what_takes_long_is_done_one_at_a_time(store: Store) -> None:
    """Between two others have their turn: a leader that decides everything anew is heard of all the while."""
    order: list[str] = []

    async def work(name: str) -> None:
        async with store.turn():
            order.append(name)
            asyncio.get_running_loop().call_soon(order.append, f"after {name}")

    await asyncio.gather(work("one"), work("two"))
    assert order[:3] == ["one", "after one", "two"]


async def test_an_alarm_brings_its_key_back(store: Store) -> None:
    recorder = Recorder()
    await put(store, "a")
    recorder.wake = {"late": 0.05}
    task = await run_with(store, recorder)
    async with asyncio.timeout(5):
        while ("late",) not in recorder.asked:
            await asyncio.sleep(0.01)
    await stop(task)


def test_a_decision_is_made_at_the_time_of_its_transaction() -> None:
    """It may wait behind a commit that takes long: what was due when it was asked for may be past its deadline."""
    decided: list[float] = []

    def decide(view: View, keys: Collection[str], now: float, rng: random.Random) -> Decision:
        decided.append(now)
        return Decision(wake_at={"a": now + 1.0} if len(decided) == 1 else {})

    async def story() -> float:
        clock = LoopClock()
        async with Store(MemoryBackend(delay=8.0), clock) as store:
            await put(store, "a")
            rule = dataclasses.replace(Recorder().rule(), decide=decide)
            task = asyncio.create_task(Loop(rule, store, clock, random.Random(1)).run())
            await asyncio.sleep(0.5)
            await store.update(lambda tx: tx.put(Network(id="n", spec=NetworkSpec(name="n"))))
            stored = clock.now()
            await asyncio.sleep(1)
            await stop(task)
            return stored

    assert run_virtual(story()) <= decided[1]


def test_only_the_earliest_alarm_of_a_key_counts() -> None:
    alarms = Alarms()
    alarms.set({"a": 10.0, "b": 5.0})
    alarms.set({"a": 3.0, "b": 8.0})
    assert alarms.delay(1.0) == 2.0
    assert alarms.take(6.0) == ["a", "b"]
    assert alarms.take(20.0) == []
    assert alarms.delay(20.0) is None


def test_alarms_look_at_the_clock_again_before_they_are_due() -> None:
    alarms = Alarms()
    assert alarms.delay(0.0) is None
    alarms.set({"nightly": 86_400.0})
    assert alarms.delay(0.0) == CLOCK_CHECK_SECONDS  # the clock may be set, or the machine suspended, meanwhile
    assert alarms.delay(86_395.0) == 5.0
    assert (alarms.delay(90_000.0), alarms.take(90_000.0)) == (0.0, ["nightly"])


RULES = (*orchestration_rules(), attachment_rule(), allocation_rule(), tunnel_keys_rule(), root_rotation_rule())
KINDS = get_args(StoredObject)
# So few names that objects name each other.
NAMES = Scalars(texts=st.sampled_from(["", "a", "b", "drain", "ready", "down"]))


@settings(
    max_examples=15, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    before=st.tuples(*(structs(kind, NAMES) for kind in KINDS)),
    now=st.tuples(*(structs(kind, NAMES) for kind in KINDS)),
)
def test_what_a_rule_is_not_told_of_has_no_keys(before: tuple[Any, ...], now: tuple[Any, ...]) -> None:
    tables = Tables()
    for each in now:
        tables.of(type(each)).put(each)
    for rule in RULES:
        for old, new in zip(before, now, strict=True):
            for change in (Change(None, new), Change(old, new), Change(old, None)):
                assert type(new) in rule.kinds or not list(rule.keys(change, tables)), rule.name
