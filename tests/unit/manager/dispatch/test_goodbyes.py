"""Agents that are stopped on purpose, joins that come to nothing, workers of another release: what the store says."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from common.errors import FailedPrecondition, PermissionDenied
from common.model import Node, Task, TaskState, TaskStatus
from common.model.node import Joining, ManagerStatus, NodeDescription, NodeSpec, NodeStatus
from common.wire.codec import decode
from common.wire.membership_messages import Applied, Goodbye, GoodbyeAck, Unfit, Withdraw
from common.wire.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    Assignments,
    Heartbeat,
    HeartbeatAck,
    Hello,
    LeaveAck,
    Refused,
    StatusReport,
    TaskReport,
)
from manager.dispatch.dispatcher import JOIN_GRACE
from manager.dispatch.session import AWAY_GRACE
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import ChangeSet
from tests.fakes.dispatching import FullBackend, Manager, Worker
from tests.fakes.virtual_loop import run_virtual


class SlowReports(MemoryBackend):
    """A backend that takes its time for one commit when it is `slow`."""

    SECONDS = 5.0

    def __init__(self) -> None:
        super().__init__()
        self.slow = False

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        if self.slow:
            self.slow = False
            await asyncio.sleep(self.SECONDS)
        await super().commit(change_sets)


def record(manager: Manager, node_id: str) -> Node:
    node = manager.store.view.nodes.get(node_id)
    assert node is not None
    return node


def state_of(manager: Manager, node_id: str) -> str:
    return record(manager, node_id).status.state


async def became(manager: Manager, node_id: str, state: str) -> float:
    """Wait until a node is in a state ("": it is gone); return the loop's time of its commit."""
    with manager.store.watch() as changes:
        while (node := manager.store.view.nodes.get(node_id)) is not None or state:
            if node is not None and node.status.state == state:
                break
            await changes.next()
    return asyncio.get_running_loop().time()


async def part(worker: Worker, *, host: bool = False) -> float:
    """Say goodbye, go when it is heard, and return when that was."""
    await worker.say(Goodbye(host=host), 3)
    await worker.expect(GoodbyeAck, 3)
    await worker.channel.close()
    return asyncio.get_running_loop().time()


async def test_a_returned_agents_late_goodbye_is_ignored(manager: Manager) -> None:
    """It lay in the socket, unread, when the next session began."""
    before = await manager.session("n1")
    await before.expect(Assignments)
    after = manager.dial("n1")
    await after.say(Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="host")), 1)
    session = manager.dispatcher._sessions["n1"]
    while manager.dispatcher._sessions["n1"] is session:
        await asyncio.sleep(0)
    await before.say(Goodbye(), 3)
    said = [type(message) async for message in before.rest()]
    assert Refused in said
    assert GoodbyeAck not in said
    await after.expect(Assignments)
    assert state_of(manager, "n1") == "ready"


# --- agents that come back, or do not ---------------------------------------------------------------------------------


def test_an_agent_that_says_goodbye_may_be_away_for_30_seconds() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            for away in (0.0, 5.0, AWAY_GRACE - 1):
                await part(await manager.session("n1"))
                assert state_of(manager, "n1") == "disconnected"
                assert "its containers keep running" in record(manager, "n1").status.message
                await asyncio.sleep(away)
                assert state_of(manager, "n1") == "disconnected"
            await manager.session("n1")
            assert record(manager, "n1").status.state == "ready"

    run_virtual(story())


def test_one_that_does_not_come_back_is_down_then_and_says_why() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            gone = await part(await manager.session("n1"))
            assert await became(manager, "n1", "down") - gone == pytest.approx(AWAY_GRACE, abs=0.05)
            assert record(manager, "n1").status.message.startswith("its agent was stopped, and did not")

    run_virtual(story())


def test_a_returned_node_that_is_silent_is_down_in_three_seconds() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            await part(await manager.session("n1"))
            await asyncio.sleep(4)
            worker = await manager.session("n1")
            worker.channel.drop()
            lost = asyncio.get_running_loop().time()
            assert await became(manager, "n1", "down") - lost == pytest.approx(3, abs=0.05)
            assert record(manager, "n1").status.message == "no sign of life"

    run_virtual(story())


def test_a_host_cut_off_in_its_goodbye_is_down_in_three_seconds() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            await worker.say(Goodbye(), 3)
            await worker.expect(GoodbyeAck, 3)
            said = asyncio.get_running_loop().time()
            assert await became(manager, "n1", "down") - said == pytest.approx(3, abs=0.05)

    run_virtual(story())


def test_reports_that_are_stored_late_do_not_shorten_that_time() -> None:
    """They keep the session, though the agent has hung up."""

    async def story() -> None:
        backend = SlowReports()
        async with Manager(backend).running() as manager:
            await manager.put(Task(id="t", node_id="n1", status=TaskStatus(state=TaskState.ASSIGNED)))
            worker = await manager.session("n1")
            await worker.say(Goodbye(), 3)
            await worker.expect(GoodbyeAck, 3)
            backend.slow = True
            preparing = TaskReport(task_id="t", status=TaskStatus(state=TaskState.PREPARING))
            await worker.say(StatusReport(tasks=(preparing,)), 4)
            await worker.channel.close()
            gone = asyncio.get_running_loop().time()
            assert await became(manager, "n1", "down") - gone == pytest.approx(AWAY_GRACE, abs=0.05)

    run_virtual(story())


def test_goodbyes_said_again_and_again_are_one() -> None:
    """Each would wait for its own write, and for all nodes, in a task of its own."""

    async def story() -> None:
        backend = SlowReports()
        async with Manager(backend).running() as manager:
            worker = await manager.session("n1")
            tasks = len(asyncio.all_tasks())
            backend.slow = True
            for _ in range(500):
                await worker.say(Goodbye(host=True), 3)
            await asyncio.sleep(SlowReports.SECONDS / 2)
            assert len(asyncio.all_tasks()) <= tasks + 2
            await worker.say(Heartbeat(), 4)
            await worker.expect(GoodbyeAck, 3)
            assert state_of(manager, "n1") == "down"

    run_virtual(story())


def test_a_restarted_manager_still_waits_for_the_agent() -> None:
    async def story() -> None:
        backend = MemoryBackend()
        async with Manager(backend).running() as manager:
            await part(await manager.session("n1"))
            await part(await manager.session("n2"))
        async with Manager(backend).running() as manager:
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(20)
            assert state_of(manager, "n1") == "disconnected"
            await manager.session("n1")
            assert state_of(manager, "n1") == "ready"
            assert await became(manager, "n2", "down") - started == pytest.approx(AWAY_GRACE, abs=0.05)

    run_virtual(story())


def test_a_host_that_goes_down_is_down_once_its_peers_know() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker, peer = await manager.session("n1"), await manager.session("peer")
            await peer.say(Applied(number=(await peer.expect(Assignments)).results_in))
            await worker.say(Goodbye(host=True), 3)
            await became(manager, "n1", "down")
            assert record(manager, "n1").status.message == "its host is shutting down"
            assigned = TaskStatus(state=TaskState.ASSIGNED)
            await manager.put(Task(id="t1", service_id="s1", node_id="peer", status=assigned))  # it was on n1
            told = await peer.expect(Assignments)
            heard = asyncio.create_task(worker.expect(GoodbyeAck, 3))
            await asyncio.sleep(1)
            assert not heard.done()
            await peer.say(Applied(number=told.results_in))
            await asyncio.wait_for(heard, 0.5)
            await worker.channel.close()
            await asyncio.sleep(AWAY_GRACE + 5)
            assert record(manager, "n1").status.message == "its host is shutting down"
            await manager.session("n1")
            assert state_of(manager, "n1") == "ready"

    run_virtual(story())


@pytest.mark.parametrize("host", [False, True])
async def test_who_goes_on_talking_after_its_goodbye_is_put_out(manager: Manager, *, host: bool) -> None:
    worker = await manager.session("n1")
    await worker.say(Goodbye(host=host), 3)
    await worker.expect(GoodbyeAck, 3)
    await worker.say(Heartbeat())
    async for message in worker.rest():
        assert isinstance(message, HeartbeatAck)
    assert not manager.dispatcher.connected


# --- hosts without an engine ------------------------------------------------------------------------------------------


async def say_unfit(manager: Manager, node_id: str, reason: str) -> None:
    worker = manager.dial(node_id)
    await worker.say(Unfit(reason=reason), 1)
    await worker.expect(GoodbyeAck, 1)


def test_a_worker_that_cannot_run_tasks_is_down_with_the_reason() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            await say_unfit(manager, "n1", "its engine hangs")  # the end of the session may be heard later
            assert (state_of(manager, "n1"), record(manager, "n1").status.message) == ("down", "its engine hangs")
            assert record(manager, "n1").status.addr == "10.0.0.9"
            async for _ in worker.rest():
                pass
            await asyncio.sleep(10)
            assert record(manager, "n1").status.message == "its engine hangs"
            await manager.session("n1")
            assert (state_of(manager, "n1"), record(manager, "n1").status.message) == ("ready", "")

    run_virtual(story())


def test_an_unfit_node_that_just_left_is_down_for_its_own_reason() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            (await manager.session("n1")).channel.drop()
            await part(await manager.session("n2"))
            for name in ("n1", "n2"):
                await say_unfit(manager, name, "no engine " * 1000)
            await asyncio.sleep(AWAY_GRACE + 5)
            for name in ("n1", "n2"):
                assert state_of(manager, name) == "down"
                assert record(manager, name).status.message == ("no engine " * 100)[:-1] + "…"

    run_virtual(story())


def test_a_goodbye_that_the_store_refuses_means_down_when_silent() -> None:
    """It was ready for ever: nobody watched it any more."""

    async def story() -> None:
        backend = FullBackend()
        async with Manager(backend).running() as manager:
            await manager.session("n1")
            backend.full = True
            worker = manager.dial("n1")
            await worker.say(Unfit(reason="its engine hangs"), 1)
            await worker.expect(Refused)
            backend.full = False
            await asyncio.wait_for(became(manager, "n1", "down"), 30)

    run_virtual(story())


async def test_one_that_has_not_come_yet_is_still_waited_for(manager: Manager) -> None:
    await manager.put(joined("n1"))
    await say_unfit(manager, "n1", "its engine hangs")
    assert (state_of(manager, "n1"), record(manager, "n1").joining) == ("unknown", Joining())
    await manager.session("n1")
    assert state_of(manager, "n1") == "ready"


# --- joins that come to nothing ---------------------------------------------------------------------------------------


def joined(node_id: str, **fields: object) -> Node:
    status = NodeStatus(state="unknown", addr="10.0.0.9")
    return Node(id=node_id, agent=True, certificate_serials=("7",), joining=Joining(), status=status, **fields)  # type: ignore[arg-type]


def own(**fields: object) -> Node:
    joining = Joining(labels={"disk": "ssd"}, availability="drain")
    node = Node(
        id="m1",
        spec=NodeSpec(labels={"zone": "a"}),
        certificate_serials=("7",),
        joining=joining,
        status=NodeStatus(state="ready", addr="10.0.0.1"),
        manager_status=ManagerStatus(leader=True),
    )
    return msgspec.structs.replace(node, **fields)


def test_a_node_that_never_came_is_removed_after_two_minutes() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            started = asyncio.get_running_loop().time()
            await manager.put(joined("never"), joined("came"), own())
            manager.dispatcher._expect_nodes()  # as a manager does that starts in between
            await manager.session("came")
            assert await became(manager, "never", "") - started == pytest.approx(JOIN_GRACE, abs=0.05)
            node = record(manager, "m1")
            assert (node.joining, node.agent, node.certificate_serials) == (None, False, ())
            assert (node.status.state, node.spec.labels) == ("ready", {"zone": "a"})
            assert record(manager, "came").joining is None

    run_virtual(story())


async def test_the_managers_node_takes_its_workers_wishes_once(manager: Manager) -> None:
    await manager.put(own())
    await manager.session("m1")
    node = record(manager, "m1")
    assert (node.agent, node.joining) == (True, None)
    assert node.spec == NodeSpec(labels={"zone": "a", "disk": "ssd"}, availability="drain")


async def withdraw(manager: Manager, node_id: str) -> None:
    worker = manager.dial(node_id)
    await worker.say(Withdraw(), 1)
    await worker.expect(LeaveAck, 1)


@pytest.mark.parametrize("served", [False, True])
async def test_a_worker_withdraws_its_join_whether_served_or_not(manager: Manager, *, served: bool) -> None:
    await manager.put(joined("n1"))
    if served:
        await part(await manager.session("n1"))
    await withdraw(manager, "n1")
    assert manager.store.view.nodes.get("n1") is None
    with pytest.raises(PermissionDenied, match="part of this cluster"):
        await manager.dial("n1").hello()


def test_an_established_node_that_withdraws_its_join_has_left() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            await part(await manager.session("n1"))
            await asyncio.sleep(JOIN_GRACE + 1)
            await withdraw(manager, "n1")
            assert record(manager, "n1").status.message == "the worker has left the swarm"

    run_virtual(story())


async def test_nobody_takes_back_the_join_of_another(manager: Manager) -> None:
    await manager.put(joined("n1"))
    stranger = manager.dial("n1", serial="8")
    await stranger.say(Withdraw(), 1)
    assert (await stranger.expect(Refused)).code == PermissionDenied.code
    assert record(manager, "n1").joining is not None


# --- workers of another release ---------------------------------------------------------------------------------------


async def refused(manager: Manager, protocol: int, release: str = "") -> str:
    worker = manager.dial("n1")
    await worker.say(Hello(protocol=protocol, description=NodeDescription(agent_version=release)))
    answer = await worker.expect(Refused)
    assert answer.code == FailedPrecondition.code
    return answer.message


def test_a_node_that_is_down_for_its_release_says_so() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            (await manager.session("n1")).channel.drop()
            why = await refused(manager, OLDEST_PROTOCOL - 1, "0.9")
            assert f"the worker speaks protocol {OLDEST_PROTOCOL - 1} (release 0.9), this manager protocol" in why
            assert "upgrade the worker's host to this release, with 'deploy/install'" in why
            assert state_of(manager, "n1") == "ready"
            await became(manager, "n1", "down")
            assert record(manager, "n1").status.message == why
            newer = await refused(manager, PROTOCOL_VERSION + 1)
            assert "upgrade the manager's host to that release" in newer
            assert record(manager, "n1").status.message == newer
            await manager.session("n1")
            assert record(manager, "n1").status.message == ""

    run_virtual(story())


def test_the_version_in_another_protocols_greeting_is_read() -> None:
    strange = msgspec.msgpack.encode((Hello.KIND, 1, {"protocol": 77, "description": [1, 2], "colour": "blue"}))
    assert decode(strange).message == Hello(protocol=77, description=NodeDescription())
