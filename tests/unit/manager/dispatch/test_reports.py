import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Unavailable
from common.model import Task, TaskState, TaskStatus
from common.wire.messages import TaskReport
from manager.dispatch.reports import (
    MAX_WAITING,
    PAUSE_SECONDS,
    SLICE,
    NewestWrites,
    NodeReports,
    SlicedWrites,
    apply_reports,
)
from tests.fakes.virtual_loop import run_virtual
from tests.fakes.world import World


class Log:
    """What was written and what was acknowledged, in order."""

    def __init__(self) -> None:
        self.slices: list[list[int]] = []
        self.done: list[tuple[int, int]] = []

    async def write(self, entries: Sequence[int]) -> None:
        await asyncio.sleep(0.001)
        self.slices.append(list(entries))

    async def finish(self, number: int) -> None:
        self.done.append((number, sum(map(len, self.slices))))


def test_a_report_is_of_a_task_of_its_node() -> None:
    world = World()
    assigned = TaskStatus(state=TaskState.ASSIGNED)
    world.put(Task(id="t", service_id="s", node_id="n1", desired_state=TaskState.RUNNING, status=assigned))
    report = TaskReport(task_id="t", status=TaskStatus(state=TaskState.RUNNING))
    of_none = TaskReport(task_id="gone", status=TaskStatus(state=TaskState.RUNNING))
    assert not world.transact(lambda tx: apply_reports(tx, [NodeReports("n2", (report,))])).changes
    (change,) = world.transact(lambda tx: apply_reports(tx, [NodeReports("n1", (of_none, report))])).changes
    assert isinstance(change.new, Task)
    assert change.new.status.state is TaskState.RUNNING


@settings(deadline=None)
@given(st.lists(st.integers(0, 350), max_size=30))
def test_all_is_written_in_ordered_slices_and_then_acknowledged(sizes: list[int]) -> None:
    async def story() -> None:
        log = Log()
        writes = SlicedWrites(log.write)
        running = asyncio.create_task(writes.run())
        before = 0
        for number, size in enumerate(sizes):
            await writes.put(range(before, before + size), partial(log.finish, number))
            before += size
        writes.close()
        await running
        assert [entry for part in log.slices for entry in part] == list(range(before))
        assert all(1 <= len(part) <= SLICE for part in log.slices)
        assert [number for number, _ in log.done] == list(range(len(sizes)))
        assert all(written >= sum(sizes[: number + 1]) for number, written in log.done)

    run_virtual(story())


def test_others_run_between_slices_and_the_first_does_not_wait() -> None:
    async def story() -> None:
        log = Log()
        writes = SlicedWrites(log.write)
        running = asyncio.create_task(writes.run())
        await asyncio.sleep(1)
        await writes.put(range(5 * SLICE), partial(log.finish, 1))
        await asyncio.sleep(0.0015)
        assert len(log.slices) == 1
        await asyncio.sleep(4 * (PAUSE_SECONDS + 0.001) - 0.005)
        assert len(log.slices) == 4
        await asyncio.sleep(0.01)
        assert log.done == [(1, 5 * SLICE)]
        running.cancel()

    run_virtual(story())


def test_who_hands_in_too_much_waits() -> None:
    async def story() -> None:
        log = Log()
        writes = SlicedWrites(log.write)
        for number in range(MAX_WAITING):
            await writes.put([number], partial(log.finish, number))
        waiting = asyncio.create_task(writes.put([MAX_WAITING], partial(log.finish, MAX_WAITING)))
        await asyncio.sleep(1)
        assert not waiting.done()
        running = asyncio.create_task(writes.run())
        await waiting
        writes.close()
        await running
        assert [number for number, _ in log.done] == list(range(MAX_WAITING + 1))

    run_virtual(story())


async def test_what_the_store_refuses_ends_it() -> None:
    async def write(_: Sequence[int]) -> None:
        raise Unavailable("the disk is full")

    writes = SlicedWrites(write)
    await writes.put([1], partial(Log().finish, 1))
    with pytest.raises(Unavailable):
        await writes.run()


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.3), max_size=20))
def test_the_newest_is_written_and_what_waits_for_one_sees_it(pauses: list[float]) -> None:
    """Whoever waits after it has handed in something finds that, or what came after it."""

    async def story() -> None:
        written: list[tuple[float, int]] = []
        loop = asyncio.get_running_loop()

        async def write(value: int) -> None:
            await asyncio.sleep(0.01)
            written.append((loop.time(), value))

        async def wait(value: int) -> None:
            await asyncio.wait_for(writes.written(), 0.2 + 2 * 0.01 + 1e-6)
            assert written[-1][1] >= value

        writes = NewestWrites(write, 0.2)
        await writes.written()
        running = asyncio.create_task(writes.run())
        waits = []
        for value, pause in enumerate(pauses):
            writes.put(value)
            waits.append(asyncio.create_task(wait(value)))
            await asyncio.sleep(pause)
        began = loop.time()
        writes.close()
        await running
        assert loop.time() - began <= 2 * 0.01 + 1e-6, "the end does not wait for its pause"
        await asyncio.gather(*waits)
        assert [value for _, value in written] == sorted({value for _, value in written})
        assert not pauses or written[-1][1] == len(pauses) - 1
        times = [at for at, _ in written][:-1]  # the last is written at the end without a pause
        assert all(after - before >= 0.2 for before, after in pairwise(times))

    run_virtual(story())
