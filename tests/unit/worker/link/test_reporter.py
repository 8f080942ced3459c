"""States of tasks on their way: the newest of each, in batches, until they are confirmed."""

import asyncio

import pytest

from common.model.service import PortConfig
from common.model.task import TaskState, TaskStatus
from common.wire.allowances import SIZES
from common.wire.codec import encode
from common.wire.messages import StatusReport
from worker.link import reporter as reporter_module
from worker.link.reporter import Reporter

S = TaskState


def status(state):
    return TaskStatus(state=state)


def states(reports):
    return {report.task_id: report.status.state for report in reports}


async def test_only_the_newest_state_of_a_task_is_sent():
    reporter = Reporter()
    for state in (S.ACCEPTED, S.PREPARING, S.READY):
        reporter.update("a", status(state))
    reporter.update("b", status(S.RUNNING))
    _, batch = await reporter.take()
    assert states(batch) == {"a": S.READY, "b": S.RUNNING}


async def test_a_batch_waits_for_news():
    reporter = Reporter()
    waiting = asyncio.ensure_future(reporter.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    reporter.update("a", status(S.RUNNING))
    assert states((await waiting)[1]) == {"a": S.RUNNING}


async def test_states_on_the_way_wait_a_moment_for_one_that_matters(monkeypatch):
    monkeypatch.setattr(reporter_module, "BATCH_SECONDS", 1000.0)
    reporter = Reporter()
    waiting = asyncio.ensure_future(reporter.take())
    for state in (S.ACCEPTED, S.PREPARING, S.STARTING):
        reporter.update("a", status(state))
        await asyncio.sleep(0)
    assert not waiting.done()
    reporter.update("b", status(S.RUNNING))
    assert states((await waiting)[1]) == {"a": S.STARTING, "b": S.RUNNING}


@pytest.mark.parametrize(
    "said",
    [
        TaskStatus(state=S.READY),
        TaskStatus(state=S.FAILED),
        TaskStatus(state=S.PREPARING, message="pulling", err="no such host"),
    ],
)
async def test_what_somebody_may_wait_for_is_sent_at_once(said, monkeypatch):
    monkeypatch.setattr(reporter_module, "BATCH_SECONDS", 1000.0)
    reporter = Reporter()
    reporter.update("a", said)
    async with asyncio.timeout(5):
        await reporter.take()


async def test_no_state_waits_for_ever():
    reporter = Reporter()
    reporter.update("a", status(S.PREPARING))
    async with asyncio.timeout(5):
        assert states((await reporter.take())[1]) == {"a": S.PREPARING}


async def test_what_was_not_confirmed_is_sent_again():
    reporter = Reporter()
    reporter.update("a", status(S.READY))
    first, _ = await reporter.take()
    reporter.update("b", status(S.RUNNING))
    await reporter.take()
    reporter.confirmed(first)
    reporter.lost()
    assert reporter.unconfirmed == {"b"}
    assert states((await reporter.take())[1]) == {"b": S.RUNNING}


async def test_newer_states_win_over_those_that_were_lost():
    reporter = Reporter()
    for state in (S.READY, S.STARTING):
        reporter.update("a", status(state))
        await reporter.take()
    reporter.lost()
    assert states((await reporter.take())[1]) == {"a": S.STARTING}
    reporter.update("a", status(S.RUNNING))
    reporter.lost()
    assert states((await reporter.take())[1]) == {"a": S.RUNNING}


async def test_a_task_that_is_forgotten_is_not_sent_again():
    reporter = Reporter()
    reporter.update("a", status(S.READY))
    await reporter.take()
    reporter.forget("a")
    reporter.lost()
    assert reporter.unconfirmed == frozenset()


async def test_batches_fit_in_a_message_and_all_states_are_sent():
    reporter = Reporter()
    for number in range(10_000):
        reporter.update(f"task{number:021}", TaskStatus(state=S.RUNNING, message="started", hostname="h" * 40))
    said = []
    while len(said) < 10_000:
        number, batch = await reporter.take()
        assert len(encode(StatusReport(tasks=batch), number)) <= SIZES[StatusReport.KIND]
        said += [report.task_id for report in batch]
        reporter.confirmed(number)
    assert sorted(said) == [f"task{number:021}" for number in range(10_000)]
    assert not reporter.unconfirmed


async def test_what_alone_is_too_large_for_a_message_is_cut():
    reporter = Reporter()
    ports = tuple(PortConfig(target_port=port, published_port=port, publish_mode="host") for port in range(1, 10_000))
    reporter.update("t", TaskStatus(state=S.FAILED, message="m" * 10**6, err="é" * 10**6, ports=ports))
    number, (report,) = await reporter.take()
    assert len(encode(StatusReport(tasks=(report,)), number)) <= SIZES[StatusReport.KIND]
    kept = report.status.ports
    assert kept == ports[: len(kept)]
    assert len(kept) > 400
    assert (report.status.message, report.status.err) == ("m" * 1000, "é" * 4000)
