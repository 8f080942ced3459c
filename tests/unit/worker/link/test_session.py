"""The session against a manager that the test plays, over channels in memory, in virtual time."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.clock import LoopClock
from common.errors import FailedPrecondition, PermissionDenied, Unauthenticated, Unavailable
from common.model.node import NodeDescription
from common.model.task import TaskState, TaskStatus
from common.wire.membership_messages import AllApplied, Applied, AwaitApplied, Goodbye, GoodbyeAck
from common.wire.memory import MemoryChannel, memory_channel_pair
from common.wire.messages import (
    PROTOCOL_VERSION,
    Assignments,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Leave,
    LeaveAck,
    NodeReport,
    OpenStream,
    Refused,
    RegistryAuth,
    RenewReply,
    RenewRequest,
    Resync,
    StatusAck,
    StatusReport,
    Welcome,
)
from common.wire.usage_messages import Gauge, HostUsage, Measure, MeasureHost, TaskUsage, Usage
from tests.fakes.engine import FakeEngine
from tests.fakes.virtual_loop import run_virtual
from worker.images.serve import ImageServer
from worker.link.conversation import MAX_STREAMS, ConversationParts
from worker.link.reporter import Reporter
from worker.link.requests import Requests
from worker.link.session import Session

HEARTBEAT = 1.0


class Managers:
    """The dialler, and the managers at the other end: `refusals` says what an address answers instead of a session."""

    def __init__(self) -> None:
        self.refusals = {}
        self.dialled = []
        self.streams = []
        self.refused = []
        self.stream_error = None
        self.told_unfit = []
        self.deaf = False
        self.arrived: asyncio.Queue[MemoryChannel] = asyncio.Queue()

    async def session(self, address: str, hello: Hello):
        self.dialled.append(address)
        await asyncio.sleep(0.01)
        if address in self.refusals:
            raise self.refusals[address]
        near, far = memory_channel_pair()
        self.arrived.put_nowait(far)
        welcome = Welcome(
            protocol=PROTOCOL_VERSION, session_id="s", node_id="n", heartbeat=HEARTBEAT, managers=("a:1", "b:1")
        )
        return near, welcome

    async def unfit(self, address: str, reason: str) -> None:
        await asyncio.sleep(0.01)
        if self.deaf:
            raise Unavailable("nobody answers")
        self.told_unfit.append(reason)

    async def stream(self, address: str, opened: OpenStream) -> None:
        self.streams.append((address, opened.stream_id))
        if self.stream_error is not None:
            raise self.stream_error
        await asyncio.sleep(5)

    async def refuse(self, address: str, opened: OpenStream, why: str) -> None:
        self.refused.append((opened.stream_id, why))


class StubAgent:
    def __init__(self) -> None:
        self.seen = []
        self.fits = True
        self.engine_gone = asyncio.Event()
        self.engine_there = asyncio.Event()
        self.engine_there.set()
        self.redescribed = asyncio.Event()
        self.round = asyncio.Event()
        self.host_round = asyncio.Event()
        self.in_line = asyncio.Queue()

    async def ready(self):
        await self.engine_there.wait()

    async def unfit(self):
        await self.engine_gone.wait()
        return "its engine hangs"

    def hello(self):
        return Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="h"))

    def welcomed(self):
        self.seen.append("welcomed")

    async def assigned(self, message):
        self.seen.append(message.results_in)
        return self.fits

    def authorised(self, message):
        self.seen.append(message.auth)

    def measure(self, message):
        self.seen.append(message)

    def measure_host(self, message):
        self.seen.append(message)

    async def host_measured(self):
        await self.host_round.wait()
        self.host_round.clear()
        return HostUsage(cpu=0.5)

    async def measured(self):
        await self.round.wait()
        self.round.clear()
        return Usage(tasks=(TaskUsage(task_id="t", cpu=0.5),))

    async def applied(self):
        return Applied(number=await self.in_line.get())

    def report_volumes(self):
        self.volumes_wanted = True

    async def volumes_changed(self):
        await asyncio.Event().wait()

    async def attachments_changed(self):
        await asyncio.Event().wait()

    async def description_changed(self):
        await self.redescribed.wait()
        self.redescribed.clear()
        return NodeReport(description=NodeDescription(hostname="new"))

    def lost(self):
        self.seen.append("lost")

    async def removed(self, reason):
        self.seen.append(reason)


class StubRenewal:
    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.got: RenewReply | None = None

    async def due(self):
        await self.wanted.wait()
        self.wanted.clear()
        return RenewRequest(csr=b"csr")

    def renew_now(self):
        self.wanted.set()

    def renewed(self, reply):
        self.got = reply
        return "77"


class World:
    def __init__(self) -> None:
        self.managers = Managers()
        self.agent = StubAgent()
        self.reporter = Reporter()
        self.renewal = StubRenewal()
        self.requests = Requests()
        self.image_server = ImageServer(FakeEngine(), LoopClock())
        self.news = asyncio.Event()
        parts: Any = self.managers, self.agent, self.reporter, self.renewal, self.requests, self.image_server
        self.session = Session(
            ConversationParts(*parts),
            managers=lambda: ("a:1", "b:1"),
            clock=LoopClock(),
            rng=random.Random(1),
            news=self.news,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MemoryChannel]:
        """Run the session in this block, and give the manager's end of its first connection."""
        job = asyncio.create_task(self.session.run())
        try:
            yield await self.next()
        finally:
            job.cancel()
            await asyncio.wait({job})
            assert job.cancelled(), job.exception()

    async def next(self) -> MemoryChannel:
        """Return the manager's end of the next connection, when its session is on."""
        async with asyncio.timeout(100):
            manager = await self.managers.arrived.get()
            while not self.session.address:
                await asyncio.sleep(0)
            return manager


async def expect(channel, kind):
    """Receive until a message of this kind comes."""
    while True:
        number, message = await channel.receive()
        if isinstance(message, kind):
            return number, message


def virtual(test):
    def wrapped():
        run_virtual(test())

    wrapped.__name__ = test.__name__
    return wrapped


@virtual
async def test_the_manager_hears_what_was_applied_and_when_all_did():
    w = World()
    async with w.running() as manager:
        w.agent.in_line.put_nowait(3)
        assert (await expect(manager, Applied))[1].number == 3
        waiting = asyncio.create_task(w.requests.all_applied())
        number, _ = await expect(manager, AwaitApplied)
        await asyncio.sleep(1)
        assert not waiting.done()
        await manager.send(AllApplied(), number)
        await waiting


@virtual
async def test_where_many_tasks_stop_at_once_the_manager_is_asked_once():
    w = World()
    async with w.running() as manager:
        waiting = [asyncio.create_task(w.requests.all_applied()) for _ in range(1000)]
        number, _ = await expect(manager, AwaitApplied)
        await manager.send(AllApplied(), number)
        await asyncio.gather(*waiting)
        w.requests.held("sha256:1")
        assert not isinstance((await manager.receive()).message, AwaitApplied)


@virtual
async def test_a_request_without_a_timely_answer_is_not_repeated():
    w = World()
    with pytest.raises(TimeoutError):
        await w.requests.all_applied()
    async with w.running() as manager:
        waiting = asyncio.create_task(w.requests.all_applied())
        number, _ = await expect(manager, AwaitApplied)
        assert number == 2
        await manager.send(AllApplied(), number)
        await waiting


@virtual
async def test_heartbeats_come_in_their_period():
    w = World()
    async with w.running() as manager:
        times = []
        for _ in range(4):
            await expect(manager, Heartbeat)
            await manager.send(HeartbeatAck())
            times.append(asyncio.get_running_loop().time())
        assert [round(b - a, 3) for a, b in itertools.pairwise(times)] == [1.0, 1.0, 1.0]
        assert w.session.address in ("a:1", "b:1")


@virtual
async def test_a_goodbye_is_said_and_nobody_is_dialled_after_it():
    w = World()
    async with w.running() as manager:
        parting = asyncio.create_task(w.session.part(Goodbye(host=True)))
        number, goodbye = await expect(manager, Goodbye)
        assert goodbye.host
        await manager.send(GoodbyeAck(), number)
        assert await parting
        await manager.close()
        await asyncio.sleep(30)
        assert len(w.managers.dialled) == 1
    assert not await World().session.part(Goodbye())  # there is nobody to tell


@virtual
async def test_a_node_that_leaves_says_so_in_its_session():
    w = World()
    async with w.running() as manager:
        parting = asyncio.create_task(w.session.part(Leave()))
        number, _ = await expect(manager, Leave)
        await manager.send(LeaveAck(), number)
        assert await parting


@virtual
async def test_a_goodbye_that_nobody_answers_keeps_no_agent():
    loop = asyncio.get_running_loop()
    for ends in (False, True):
        w = World()
        async with w.running() as manager:
            began = loop.time()
            parting = asyncio.create_task(w.session.part(Goodbye()))
            await expect(manager, Goodbye)
            if ends:  # as a manager does that does not know the word
                await manager.close()
            assert not await parting
            assert loop.time() - began < (1 if ends else 5)


@virtual
async def test_why_there_is_no_session_is_known_until_there_is_one():
    w = World()
    old = FailedPrecondition("the worker speaks protocol 1")
    w.managers.refusals = {"a:1": old, "b:1": old}
    job = asyncio.create_task(w.session.run())
    await asyncio.wait_for(w.news.wait(), 5)
    assert w.session.refused == "the worker speaks protocol 1"
    w.managers.refusals = {}
    await w.next()
    await asyncio.sleep(0)
    assert w.session.refused == ""
    job.cancel()
    await asyncio.wait({job})


@virtual
async def test_a_silent_manager_is_given_up_for_another():
    w = World()
    async with w.running():
        await w.next()
        assert asyncio.get_running_loop().time() < 6
        assert w.agent.seen == ["welcomed", "lost", "welcomed"]


@virtual
async def test_assignments_are_handed_over_and_a_mismatch_asks_for_all():
    w = World()
    async with w.running() as manager:
        await manager.send(Assignments(complete=True, results_in=1))
        w.agent.fits = True
        await asyncio.sleep(0.1)
        w.agent.fits = False
        await manager.send(Assignments(complete=False, applies_to=7, results_in=8))
        await expect(manager, Resync)
        assert w.agent.seen == ["welcomed", 1, 8]


@virtual
async def test_metrics_requests_are_passed_on_and_measurements_sent():
    w = World()
    async with w.running() as manager:
        order = Measure(gauges=(Gauge(service_id="s", interval=5.0, cpu=True),))
        await manager.send(order)
        w.agent.round.set()
        _, usage = await expect(manager, Usage)
        assert usage.tasks == (TaskUsage(task_id="t", cpu=0.5),)
        assert w.agent.seen == ["welcomed", order]


@virtual
async def test_a_hosts_measurements_are_asked_for_and_sent():
    w = World()
    async with w.running() as manager:
        order = MeasureHost(interval=10.0)
        await manager.send(order)
        w.agent.host_round.set()
        _, usage = await expect(manager, HostUsage)
        assert usage.cpu == 0.5
        assert w.agent.seen == ["welcomed", order]


@virtual
async def test_states_are_repeated_on_the_next_session_until_confirmed():
    w = World()
    async with w.running() as manager:
        w.reporter.update("t1", TaskStatus(state=TaskState.RUNNING))
        number, report = await expect(manager, StatusReport)
        assert report.tasks[0].task_id == "t1"
        manager.drop()
        again = await w.next()
        number, report = await expect(again, StatusReport)
        assert report.tasks[0].task_id == "t1"
        await again.send(StatusAck(), number)
        await asyncio.sleep(0.1)
        assert w.reporter.unconfirmed == frozenset()


@virtual
async def test_states_that_follow_each_other_closely_are_one_message():
    w = World()
    async with w.running() as manager:
        await asyncio.sleep(0.1)
        for state in (TaskState.ACCEPTED, TaskState.PREPARING, TaskState.READY, TaskState.STARTING, TaskState.RUNNING):
            for name in ("t1", "t2", "t3"):
                w.reporter.update(name, TaskStatus(state=state))
            await asyncio.sleep(0.001)
        sent = [(await expect(manager, StatusReport))[1] for _ in range(2)]
        assert [len(report.tasks) for report in sent] == [3, 3]
        assert {report.status.state for report in sent[1].tasks} == {TaskState.RUNNING}


@virtual
async def test_a_broken_connection_redials_the_same_manager_first():
    w = World()
    async with w.running() as manager:
        served_by = w.session.address
        manager.drop()
        await w.next()
        # The other one may have had its turn first, as the round goes on; both were tried within seconds.
        assert served_by in w.managers.dialled
        assert asyncio.get_running_loop().time() < 2


@virtual
async def test_unreachable_managers_are_retried_with_growing_pauses():
    w = World()
    w.managers.refusals = {"a:1": Unavailable("nobody there"), "b:1": Unauthenticated("another cluster")}
    job = asyncio.create_task(w.session.run())
    await asyncio.sleep(60)
    assert 20 <= len(w.managers.dialled) <= 60
    w.managers.refusals = {}
    await w.next()
    job.cancel()
    await asyncio.wait({job})


@virtual
async def test_a_removed_node_stops_its_tasks_and_asks_seldom():
    w = World()
    gone = PermissionDenied("node n was removed")
    w.managers.refusals = {"a:1": gone, "b:1": gone}
    job = asyncio.create_task(w.session.run())
    await asyncio.sleep(600)
    assert 10 <= len(w.managers.dialled) <= 24, "each manager every minute"
    assert w.agent.seen[0] == "node n was removed"
    job.cancel()
    await asyncio.wait({job})


@virtual
async def test_refused_in_the_middle_ends_the_session():
    w = World()
    async with w.running() as manager:
        await manager.send(Refused(code="Unavailable", message="this manager stops"))
        await w.next()
        assert w.agent.seen == ["welcomed", "lost", "welcomed"]


@virtual
async def test_credentials_descriptions_and_certificates_pass():
    w = World()
    async with w.running() as manager:
        await manager.send(RegistryAuth(service_id="s", auth="{}"))
        w.agent.redescribed.set()
        assert (await expect(manager, NodeReport))[1].description.hostname == "new"
        w.renewal.wanted.set()
        assert (await expect(manager, RenewRequest))[1].csr == b"csr"
        await manager.send(RenewReply(certificate=b"c", root_certificate=b"r"))
        await asyncio.sleep(0.1)
        assert w.renewal.got.certificate == b"c"
        assert w.agent.seen == ["welcomed", "{}"]


@virtual
async def test_streams_run_beside_the_session():
    w = World()
    async with w.running() as manager:
        for number in range(3):
            await manager.send(OpenStream(stream_id=str(number), target="engine"))
        await asyncio.sleep(0.1)
        assert w.managers.streams == [(w.session.address, str(number)) for number in range(3)]
        await expect(manager, Heartbeat)


@virtual
async def test_a_stream_too_many_is_refused_and_its_requester_told():
    w = World()
    async with w.running() as manager:
        for number in range(MAX_STREAMS + 1):
            await manager.send(OpenStream(stream_id=str(number), target="engine"))
        await asyncio.sleep(0.1)
        assert len(w.managers.streams) == MAX_STREAMS
        why = f"it has {MAX_STREAMS} streams open already, which is the most"
        assert w.managers.refused == [(str(MAX_STREAMS), why)]
        for _ in range(3):
            await asyncio.sleep(2)
            await manager.send(HeartbeatAck())
        await manager.send(OpenStream(stream_id="later", target="engine"))
        await asyncio.sleep(0.1)
        assert w.managers.streams[-1] == (w.session.address, "later")


@virtual
async def test_a_bug_that_a_stream_meets_ends_that_stream_alone():
    w = World()
    async with w.running() as manager:
        w.managers.stream_error = ZeroDivisionError("a bug")
        await manager.send(OpenStream(stream_id="1", target="engine"))
        await asyncio.sleep(0.1)
        assert len(w.managers.streams) == 1
        await manager.send(RegistryAuth(service_id="s", auth="{}"))
        await asyncio.sleep(0.1)
        assert w.agent.seen == ["welcomed", "{}"]


@virtual
async def test_without_an_engine_there_is_no_session():
    w = World()
    async with w.running() as manager:
        w.agent.engine_there.clear()
        w.agent.engine_gone.set()
        with pytest.raises(Unavailable):
            await expect(manager, Resync)
        await asyncio.sleep(100)
        assert w.managers.arrived.empty()
        assert w.managers.told_unfit == ["its engine hangs"], "once"
        assert w.session.refused == "its engine hangs"
        w.agent.engine_gone.clear()
        w.agent.engine_there.set()
        await w.next()
        await asyncio.sleep(0)
        assert w.session.refused == ""


@virtual
async def test_a_worker_that_starts_without_an_engine_says_so_at_once():
    w = World()
    w.agent.engine_there.clear()
    w.agent.engine_gone.set()
    w.managers.deaf = True
    job = asyncio.create_task(w.session.run())
    await asyncio.sleep(20)
    assert not w.managers.told_unfit
    w.managers.deaf = False
    await asyncio.sleep(10)
    assert w.managers.told_unfit == ["its engine hangs"]
    assert w.managers.dialled == []
    job.cancel()
    await asyncio.wait({job})


@virtual
async def test_cancelling_works_even_while_the_connection_breaks():
    w = World()
    async with w.running() as manager:
        manager.drop()


@virtual
async def test_what_no_worker_expects_is_passed_over():
    w = World()
    async with w.running() as manager:
        await manager.send(Heartbeat())
        await manager.send(Assignments(complete=True, results_in=1))
        await asyncio.sleep(0.1)
        assert w.agent.seen == ["welcomed", 1]
