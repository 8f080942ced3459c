"""What a node that says too much, or connects too often, costs itself and the others. In virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from msgspec.structs import replace

from common.errors import PermissionDenied, ResourceExhausted
from common.model import Node, Task, TaskState, TaskStatus
from common.model.attachment import AttachmentStatus
from common.model.node import NodeDescription
from common.wire.channel import ChannelClosed
from common.wire.handshake import check_unfit_reply
from common.wire.membership_messages import Unfit
from common.wire.messages import (
    PROTOCOL_VERSION,
    AnyMessage,
    Assignments,
    AttachmentReport,
    AttachmentState,
    Heartbeat,
    HeartbeatAck,
    Hello,
    NodeReport,
    Refused,
    Resync,
    StatusAck,
    StatusReport,
    StreamHello,
    TaskReport,
    Welcome,
)
from common.wire.volume_copy import SeenVolume, VolumeReport
from manager.dispatch.pending_connections import FAILED_OF_NODE
from manager.dispatch.quota import ENDPOINT_CHANGES, EXCESS_SECONDS, FIRST_BAN_SECONDS, SESSIONS
from manager.dispatch.session import VOLUMES_SECONDS
from tests.fakes.dispatching import Manager, Worker
from tests.fakes.validation import IN_OWN, NET, attachment, network, task
from tests.fakes.virtual_loop import run_virtual

GRACE = 3.0
HELLO = Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="host"))


def now() -> float:
    return asyncio.get_running_loop().time()


def record(manager: Manager, node_id: str) -> Node:
    node = manager.store.view.nodes.get(node_id)
    assert node is not None
    return node


class Witness:
    """Another node, which beats once a second: whether it was ever anything but ready, and how it was answered."""

    def __init__(self, manager: Manager, worker: Worker) -> None:
        self.states: set[str] = set()
        self._manager = manager
        self._worker = worker

    async def run(self) -> None:
        while True:
            await self._worker.say(Heartbeat())
            async with asyncio.timeout(0.05):
                await self._worker.expect(HeartbeatAck)
            self.states.add(record(self._manager, "witness").status.state)
            await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def witnessed() -> AsyncIterator[Manager]:
    """Run a manager with a node that must stay ready throughout."""
    async with Manager().running() as manager:
        witness = Witness(manager, await manager.session("witness"))
        watching = asyncio.create_task(witness.run())
        yield manager
        assert not watching.done(), watching.exception()
        watching.cancel()
        assert witness.states == {"ready"}


async def flood(worker: Worker, messages: Iterable[AnyMessage]) -> float:
    """Say the same again and again, as fast as it is taken, until that ends; return for how many seconds."""
    began = now()
    with contextlib.suppress(ChannelClosed):
        while True:
            for number, message in enumerate(messages):
                await worker.say(message, number)
            await asyncio.sleep(0)
    return now() - began


async def heard(worker: Worker) -> list[AnyMessage]:
    return [message async for message in worker.rest()]


REPORT = StatusReport(
    tasks=tuple(TaskReport(task_id=f"t{number}", status=TaskStatus(state=TaskState.RUNNING)) for number in range(300))
)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (Heartbeat(), "500 messages a second"),
        (REPORT, "500 messages a second"),
        (Resync(), "500 messages a second"),
        (StatusReport(tasks=(TaskReport(task_id="t", status=TaskStatus(err="x" * 60_000)),)), "262144 bytes a second"),
        (NodeReport(description=NodeDescription(agent_version="1" * 60_000)), "262144 bytes a second"),
    ],
)
def test_a_flood_is_slowed_then_ended_and_the_record_says_why(message: AnyMessage, limit: str) -> None:
    async def story() -> None:
        async with witnessed() as manager:
            worker = await manager.session("n1")
            listening = asyncio.create_task(heard(worker))
            flooding = asyncio.create_task(flood(worker, [message]))
            await asyncio.sleep(EXCESS_SECONDS - 1)
            assert record(manager, "n1").status.state == "ready", "it is slowed, and so no less alive"
            assert await flooding == pytest.approx(EXCESS_SECONDS, abs=6)
            said = await listening
            (refused,) = [each for each in said if isinstance(each, Refused)]
            assert limit in refused.message
            assert sum(isinstance(each, HeartbeatAck) for each in said) <= 2 * EXCESS_SECONDS + 3
            await asyncio.sleep(GRACE + 1)
            status = record(manager, "n1").status
            assert status.state == "down"
            assert limit in status.message

    run_virtual(story())


def test_a_node_with_an_ended_session_is_kept_out_for_a_while() -> None:
    async def story() -> None:
        async with witnessed() as manager:
            worker = await manager.session("n1")
            await flood(worker, [Heartbeat()])
            for _ in range(20):
                with pytest.raises(ResourceExhausted, match=r"500 messages a second.*: try again in \d+ s"):
                    await manager.dial("n1").hello()
                await asyncio.sleep(0.5)
            await asyncio.sleep(FIRST_BAN_SECONDS - 10)
            assert record(manager, "n1").status.state == "down"
            await manager.dial("n1").hello()
            assert record(manager, "n1").status.state == "ready"

    run_virtual(story())


def test_a_protocol_breach_keeps_a_node_out_and_is_recorded() -> None:
    async def story() -> None:
        async with witnessed() as manager:
            worker = await manager.session("n1")
            await worker.say(NodeReport(description=NodeDescription(agent_version="1" * 100_000)))
            assert "oversize NodeReport" in (await worker.expect(Refused)).message
            with pytest.raises(ResourceExhausted, match="oversize NodeReport"):
                await manager.dial("n1").hello()
            await asyncio.sleep(GRACE + 1)
            assert "oversize NodeReport" in record(manager, "n1").status.message
            await asyncio.sleep(FIRST_BAN_SECONDS)
            await manager.dial("n1").hello()

    run_virtual(story())


def test_one_nodes_large_reports_do_not_delay_anothers_small_one() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            tasks = [
                Task(id=f"t{number}", node_id="n1", service_id="s", status=TaskStatus(state=TaskState.ASSIGNED))
                for number in range(1600)
            ]
            await manager.node("n1")
            await manager.put(*tasks, Task(id="u", node_id="n2", status=TaskStatus(state=TaskState.ASSIGNED)))
            large, small = await manager.session("n1"), await manager.session("n2")
            running = TaskStatus(state=TaskState.RUNNING)
            for number in range(8):
                part = tasks[200 * number : 200 * number + 200]
                await large.say(StatusReport(tasks=tuple(TaskReport(task_id=each.id, status=running) for each in part)))
            with manager.store.watch() as changes:
                await small.say(StatusReport(tasks=(TaskReport(task_id="u", status=running),)), 7)
                began = now()
                await small.expect(StatusAck, 7)
                assert now() - began < 0.02
                await asyncio.sleep(2)
                counts = [len(each.changes) for each in await changes.next()]
            assert sum(counts) == 1601
            assert max(counts) <= 101
            assert all(task.status.state is TaskState.RUNNING for task in manager.store.view.tasks)

    run_virtual(story())


def test_however_much_a_node_reports_it_makes_few_transactions() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            await manager.put(Task(id="t", node_id="n1", status=TaskStatus(state=TaskState.ASSIGNED)))
            worker = await manager.session("n1")
            await worker.expect(Assignments)
            before = manager.store.view.index
            for number in range(400):
                status = TaskStatus(state=TaskState.RUNNING, message=f"news {number}")
                await worker.say(StatusReport(tasks=(TaskReport(task_id="t", status=status),)), number)
                await asyncio.sleep(0.005)
            await worker.expect(StatusAck, 399)
            assert manager.store.view.index - before <= 2.0 / 0.02 + 2

    run_virtual(story())


def test_volumes_that_come_and_go_make_few_transactions() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            await worker.expect(Assignments)
            before, seconds = manager.store.view.index, 2.0
            for number in range(400):
                volumes = (SeenVolume(name="data", data_id=f"{number:032x}"),) if number % 2 else ()
                await worker.say(VolumeReport(volumes=volumes))
                await asyncio.sleep(seconds / 400)
            await asyncio.sleep(VOLUMES_SECONDS)
            assert manager.store.view.index - before <= seconds / VOLUMES_SECONDS + 2
            assert [each.data_id for each in manager.store.view.volumes] == [f"{399:032x}"], "the newest is not lost"

    run_virtual(story())


def flapping_task(number: int) -> AnyMessage:
    addresses = {NET: IN_OWN} if number % 2 else {}
    status = TaskStatus(state=TaskState.RUNNING, addresses=addresses)
    return StatusReport(tasks=(TaskReport(task_id="t1", status=status),))


def flapping_container(number: int) -> AnyMessage:
    status = AttachmentStatus(running=bool(number % 2))
    return AttachmentReport(attachments=(AttachmentState(attachment_id="a1", status=status),))


@pytest.mark.parametrize("flapping", [flapping_task, flapping_container])
def test_changes_of_a_node_reach_others_a_few_times_a_second(
    flapping: Callable[[int], AnyMessage],
) -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            part = network(NET, "10.1.0.0/16", n1="10.1.16.0/24")
            await manager.put(part, replace(task("t1"), created_at=0.0), attachment())

            def told() -> bool:
                shown_task, container = manager.store.view.tasks.get("t1"), manager.store.view.attachments.get("a1")
                assert shown_task is not None
                assert container is not None
                return bool(shown_task.status.addresses) or container.status.running

            changes, before = 0, False
            for number in range(1000):
                await worker.say(flapping(number))
                await asyncio.sleep(0.02)
                changes, before = changes + (told() is not before), told()
            assert ENDPOINT_CHANGES.burst < changes <= 2 * (ENDPOINT_CHANGES.burst + 20 * ENDPOINT_CHANGES.per_second)
            await asyncio.sleep(1)
            assert told()
            await worker.say(Heartbeat())
            await worker.expect(HeartbeatAck)

    run_virtual(story())


def test_a_task_that_goes_on_its_way_waits_for_none_of_that() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            count = int(2 * ENDPOINT_CHANGES.burst)
            await manager.put(
                network(NET, "10.1.0.0/16", n1="10.1.16.0/24"),
                *(replace(task(f"t{number}"), created_at=0.0) for number in range(count)),
            )
            worker = await manager.session("n1")
            began = now()
            for number in range(count):
                for state in (TaskState.RUNNING, TaskState.FAILED):
                    status = TaskStatus(state=state, addresses={NET: IN_OWN})
                    report = StatusReport(tasks=(TaskReport(task_id=f"t{number}", status=status),))
                    await worker.say(report, number)
                    await worker.expect(StatusAck, number)
            assert now() - began < 0.05 * 2 * count

    run_virtual(story())


def test_repeated_sessions_are_soon_refused_and_seldom_written() -> None:
    async def story() -> None:
        async with witnessed() as manager:
            await manager.node("n1")
            before, answers = manager.store.view.index, []
            for _ in range(500):
                worker = manager.dial("n1")
                await worker.say(HELLO, 1)
                answers.append((await worker.channel.receive()).message)
                await worker.channel.close()
                await asyncio.sleep(0.01)
            began = [each for each in answers if isinstance(each, Welcome)]
            assert len(began) <= SESSIONS.burst + 5 * SESSIONS.per_second + 1
            words = {each.message for each in answers if isinstance(each, Refused)}
            assert words == {"it has begun more than 10 sessions in a short time: try again in 1 s"}
            assert manager.store.view.index - before <= len(began)

    run_virtual(story())


def test_a_worker_that_repeats_having_no_session_is_soon_refused() -> None:
    async def story() -> None:
        async with witnessed() as manager:
            await manager.node("n1")
            before, heard = manager.store.view.index, 0
            for number in range(200):
                worker = manager.dial("n1")
                await worker.say(Unfit(reason=f"reason {number}"), 1)
                with contextlib.suppress(ResourceExhausted):
                    check_unfit_reply((await worker.channel.receive()).message)
                    heard += 1
                await asyncio.sleep(0.01)
            assert heard <= SESSIONS.burst + 2 * SESSIONS.per_second + 1
            assert manager.store.view.index - before <= heard

    run_virtual(story())


def test_only_failed_connections_count_against_their_address() -> None:
    async def story() -> None:
        async with witnessed() as manager:
            await manager.node("n1")
            address, failed = "10.0.0.9", 0
            while manager.reception.admission.lets_in(address, now()):
                worker = manager.dial("n1")
                await worker.say(StreamHello(stream_id="nobody's"))
                assert isinstance((await worker.channel.receive()).message, Refused)
                with pytest.raises(ChannelClosed):
                    await worker.channel.receive()
                failed += 1
                assert failed < 1000
            assert failed >= FAILED_OF_NODE.burst
            assert manager.reception.admission.lets_in("10.0.0.8", now())
            await asyncio.sleep(60)
            for _ in range(300):
                await manager.session("witness2")
                await asyncio.sleep(1)
                assert manager.reception.admission.lets_in(address, now())

    run_virtual(story())


def test_refused_workers_that_retry_do_not_lock_their_address() -> None:
    """Behind one address there may be many hosts whose releases this manager does not speak with, and many it does."""

    async def story() -> None:
        async with witnessed() as manager:
            for _ in range(60):
                for number in range(200):
                    with pytest.raises(PermissionDenied):
                        await manager.dial(f"gone{number}").hello()
                assert manager.reception.admission.lets_in("10.0.0.9", now())
                await asyncio.sleep(5)

    run_virtual(story())
