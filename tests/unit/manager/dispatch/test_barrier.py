"""When a worker hears that every node has applied what was decided. In virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

from common.model import Task, TaskState, TaskStatus
from common.wire.membership_messages import AllApplied, Applied, AwaitApplied
from common.wire.messages import Assignments, Heartbeat, HeartbeatAck, StatusAck, StatusReport
from manager.dispatch.barrier import PATIENCE_SECONDS, USUAL_SECONDS
from manager.dispatch.dispatcher import RESTART_GRACE
from manager.dispatch.quota import Violation
from manager.dispatch.session import MAX_OPEN_BARRIERS
from manager.store.backends.memory import MemoryBackend
from tests.fakes.dispatching import Manager, Worker
from tests.fakes.virtual_loop import run_virtual


def virtual(test: Callable[[Manager], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time, with a manager that runs."""

    def wrapped() -> None:
        async def scenario() -> None:
            async with Manager().running() as manager:
                await test(manager)

        run_virtual(scenario())

    wrapped.__name__ = test.__name__
    return wrapped


async def follower(manager: Manager, node_id: str) -> Worker:
    """Connect a worker that has applied its first assignments."""
    worker = await manager.session(node_id)
    first = await worker.expect(Assignments)
    await worker.say(Applied(number=first.results_in))
    return worker


async def decide(manager: Manager, node_id: str, task_id: str = "t1") -> None:
    """Decide something that this node is to hear of."""
    await manager.put(Task(id=task_id, node_id=node_id, service_id="s1", status=TaskStatus(state=TaskState.ASSIGNED)))


async def answered(asker: Worker) -> float:
    """Ask, and return after how many seconds the answer came."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asker.say(AwaitApplied(), 7)
    await asker.expect(AllApplied, 7)
    return loop.time() - began


@virtual
async def test_nobody_is_waited_for_when_all_have_applied_everything(manager: Manager) -> None:
    asker, _ = await follower(manager, "n1"), await follower(manager, "n2")
    await asyncio.sleep(1)
    assert await answered(asker) < 0.01


@virtual
async def test_a_node_that_has_not_applied_a_decision_is_waited_for(manager: Manager) -> None:
    asker, other = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")  # it may not even have been sent when the question comes
    waiting = asyncio.create_task(answered(asker))
    newest = await other.expect(Assignments)
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await decide(manager, "n2", "t2")  # later than the question: nobody waits for that
    await other.expect(Assignments)
    await other.say(Applied(number=newest.results_in))
    assert 0.5 <= await waiting < 0.6


@virtual
async def test_what_was_sent_already_is_waited_for_too(manager: Manager) -> None:
    asker, other = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")
    newest = await other.expect(Assignments)
    waiting = asyncio.create_task(answered(asker))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await other.say(Applied(number=newest.results_in))
    assert await waiting < 0.6


@virtual
async def test_a_node_that_does_not_get_on_is_not_waited_for_for_long(manager: Manager) -> None:
    asker, _ = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")
    assert PATIENCE_SECONDS <= await answered(asker) < PATIENCE_SECONDS + 0.1


@virtual
async def test_a_node_given_up_on_is_waited_for_once_it_caught_up(manager: Manager) -> None:
    asker, other = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")
    newest = await other.expect(Assignments)
    assert await answered(asker) >= PATIENCE_SECONDS
    assert await answered(asker) < 0.1
    await other.say(Applied(number=newest.results_in))
    await asyncio.sleep(0.1)
    await decide(manager, "n2", "t2")
    assert await answered(asker) >= PATIENCE_SECONDS


@virtual
async def test_a_node_that_is_always_slow_is_soon_hardly_waited_for(manager: Manager) -> None:
    asker, other = await follower(manager, "n1"), await follower(manager, "n2")
    took = []
    for number in range(20):
        await decide(manager, "n2", f"t{number}")
        newest = await other.expect(Assignments)
        asking = asyncio.create_task(answered(asker))
        await asyncio.sleep(PATIENCE_SECONDS - 0.1)
        await other.say(Applied(number=newest.results_in))
        took.append(await asking)
        await asyncio.sleep(0.1)
    assert took[0] > PATIENCE_SECONDS - 0.2
    assert all(each < USUAL_SECONDS + 0.1 for each in took[5:])
    for _ in range(200):
        await asyncio.sleep(1.0)
        await asyncio.gather(asker.say(Heartbeat()), other.say(Heartbeat()))
    await decide(manager, "n2", "later")
    await other.expect(Assignments)
    assert await answered(asker) >= PATIENCE_SECONDS, "it is trusted again"


@virtual
async def test_heartbeats_are_read_while_many_wait(manager: Manager) -> None:
    asker, _ = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")
    for number in range(1, 101):
        await asker.say(AwaitApplied(), number)
    began = asyncio.get_running_loop().time()
    await asker.say(Heartbeat(), 999)
    await asker.expect(HeartbeatAck, 999)
    assert asyncio.get_running_loop().time() - began < 0.1


@virtual
async def test_nobody_waits_without_bounds_and_all_are_answered(manager: Manager) -> None:
    asker, _ = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")
    for number in range(1, MAX_OPEN_BARRIERS + 2):
        await asker.say(AwaitApplied(), number)
    await asker.say(StatusReport(), MAX_OPEN_BARRIERS + 2)
    heard = [await asker.channel.receive() for _ in range(MAX_OPEN_BARRIERS + 2)]
    answers = [frame.id for frame in heard if frame.message == AllApplied()]
    assert sorted(answers) == list(range(1, MAX_OPEN_BARRIERS + 2))
    first = next(frame for frame in heard if isinstance(frame.message, AllApplied | StatusAck))
    assert first.message == AllApplied(), "nothing is read beyond the bound"


@virtual
async def test_a_session_that_ends_is_not_waited_for(manager: Manager) -> None:
    asker, other = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")
    waiting = asyncio.create_task(answered(asker))
    await asyncio.sleep(0.5)
    await other.channel.close()
    assert await waiting < 0.6


@virtual
async def test_a_worker_that_has_just_come_is_not_waited_for(manager: Manager) -> None:
    asker = await follower(manager, "n1")
    await manager.session("n2")
    await decide(manager, "n2")
    assert await answered(asker) < 0.1


@virtual
async def test_many_questions_are_all_answered(manager: Manager) -> None:
    asker, other = await follower(manager, "n1"), await follower(manager, "n2")
    await decide(manager, "n2")
    newest = await other.expect(Assignments)
    for number in range(1, 31):
        await asker.say(AwaitApplied(), number)
    await other.say(Applied(number=newest.results_in))
    for number in range(1, 31):
        await asker.expect(AllApplied, number)


@virtual
async def test_nobody_has_applied_what_it_was_not_sent(manager: Manager) -> None:
    worker = await follower(manager, "n1")
    await decide(manager, "n1")
    newest = (await worker.expect(Assignments)).results_in
    await worker.say(Applied(number=newest))
    await asyncio.sleep(0.1)
    assert not manager.errors
    await worker.say(Applied(number=newest + 1))
    await asyncio.sleep(0.1)
    assert f"was not sent: {newest + 1}" in str(manager.errors)
    assert isinstance(manager.errors[0], Violation)
    assert not manager.dispatcher.connected


async def lead_anew(*node_ids: str) -> Manager:
    """Return a manager, not running yet, of a store in which these nodes were ready when its leader went."""
    backend = MemoryBackend()
    async with Manager(backend).running() as manager:
        for node_id in node_ids:
            await manager.session(node_id)
    return Manager(backend)


def test_after_a_takeover_nodes_that_are_not_back_are_behind() -> None:
    async def story() -> None:
        later = await lead_anew("n1", "n2")
        async with later.running() as manager:
            asker = await follower(manager, "n1")
            waiting = asyncio.create_task(answered(asker))
            await asyncio.sleep(PATIENCE_SECONDS + 0.5)
            await asker.say(Heartbeat())
            back = await manager.session("n2")
            first = await back.expect(Assignments)
            await asyncio.sleep(0.5)
            assert not waiting.done(), "it has not applied anything yet"
            await back.say(Applied(number=first.results_in))
            assert PATIENCE_SECONDS + 1 <= await waiting < PATIENCE_SECONDS + 1.1

    run_virtual(story())


def test_after_a_takeover_nobody_waits_for_lost_nodes_for_ever() -> None:
    async def story() -> None:
        later = await lead_anew("n1", "n2")
        async with later.running() as manager:
            asker = await follower(manager, "n1")
            asking = asyncio.create_task(answered(asker))
            for _ in range(19):
                await asyncio.sleep(0.5)
                await asker.say(Heartbeat())
            assert not asking.done()
            assert RESTART_GRACE - 0.1 <= await asking < RESTART_GRACE + 0.1
            assert await answered(asker) < 0.1

    run_virtual(story())


def test_after_a_takeover_removed_nodes_are_not_waited_for() -> None:
    async def story() -> None:
        later = await lead_anew("n1", "n2")
        async with later.running() as manager:
            asking = asyncio.create_task(answered(await follower(manager, "n1")))
            await asyncio.sleep(1)
            await manager.remove(manager.store.view.nodes.get("n2"))  # type: ignore[arg-type]
            assert await asking < 1.1

    run_virtual(story())
