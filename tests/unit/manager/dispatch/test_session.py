"""Sessions, as transcripts: what the worker says, what it hears, what the store holds then."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Collection, Sequence

import msgspec
import pytest

from common.errors import FailedPrecondition, PermissionDenied, SwarmError, Unauthenticated, Unavailable
from common.model import Node, RegistryLogin, Service, Task, TaskState, TaskStatus
from common.model.node import (
    ANY_CERTIFICATE,
    EngineDescription,
    ManagerStatus,
    NodeDescription,
    NodeStatus,
    Plugin,
)
from common.model.service import ServiceSpec
from common.tls import ROLE_MANAGER
from common.wire.channel import ChannelClosed, PeerInfo
from common.wire.image_messages import SeekImage
from common.wire.manager_messages import BecomeManager
from common.wire.messages import (
    PROTOCOL_VERSION,
    Assignments,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Leave,
    LeaveAck,
    NodeReport,
    Refused,
    RegistryAuth,
    Resync,
    StatusAck,
    StatusReport,
    StreamHello,
    TaskReport,
    Welcome,
)
from common.wire.volume_copy import SeenVolume, VolumeReport
from manager.dispatch import notices
from manager.dispatch.directory import Directory
from manager.dispatch.dispatcher import RESTORE_GRACE
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change, ChangeSet
from tests.fakes.dispatching import FullBackend, Manager, Worker
from tests.fakes.virtual_loop import run_virtual


def task(task_id: str, node_id: str, state: TaskState = TaskState.ASSIGNED, **fields: object) -> Task:
    return Task(
        id=task_id,
        node_id=node_id,
        service_id="s1",
        status=TaskStatus(state=state),
        desired_state=fields.pop("desired_state", TaskState.RUNNING),  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


def report(task_id: str, state: TaskState, message: str = "") -> TaskReport:
    return TaskReport(task_id=task_id, status=TaskStatus(state=state, message=message))


# --- the beginning ----------------------------------------------------------------------------------------------------


class SlowBackend(MemoryBackend):
    """A backend that stores nothing while its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waits = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        self.waits.set()
        await self.gate.wait()
        await super().commit(change_sets)


@contextlib.asynccontextmanager
async def before_its_welcome(backend: SlowBackend) -> AsyncIterator[tuple[Manager, Worker]]:
    """Have a worker say hello to a manager whose backend does not store that until its gate is opened."""
    async with Manager(backend).running() as manager:
        await manager.node("n1")
        backend.gate.clear()
        backend.waits.clear()
        worker = manager.dial("n1")
        await worker.say(Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="host")), 1)
        await backend.waits.wait()
        yield manager, worker


async def test_nothing_is_said_to_a_worker_before_its_welcome() -> None:
    backend = SlowBackend()
    async with before_its_welcome(backend) as (manager, worker):
        promoting = asyncio.create_task(manager.dispatcher.promote("n1", BecomeManager(ticket="t", addr="")))
        asking = asyncio.create_task(manager.dispatcher.images.holders("sha256:" + "a" * 64))
        await asyncio.sleep(0)
        backend.gate.set()
        assert isinstance((await worker.channel.receive()).message, Welcome)
        missing: set[type] = {BecomeManager, SeekImage}
        while missing:
            missing.discard(type((await worker.channel.receive()).message))
        await promoting
        asking.cancel()


async def test_who_asks_a_worker_that_gets_no_welcome_is_told() -> None:
    """Its connection is still there when its session is over, to say why: what is asked then has no answer."""
    backend = SlowBackend()
    async with before_its_welcome(backend) as (manager, _):
        bringing = asyncio.create_task(manager.dispatcher.images.bring("n1", "sha256:" + "a" * 64))
        await asyncio.sleep(0)
        manager.dispatcher.end()
        with pytest.raises(ChannelClosed):
            await asyncio.wait_for(bringing, 5)
        backend.gate.set()


async def test_hello_is_answered_when_the_node_is_ready_in_the_store(manager: Manager) -> None:
    await manager.node("n1")
    worker = manager.dial("n1")
    await worker.say(
        Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="alpha"), advertise_addr="10.0.0.77"),
        5,
    )
    welcome = await worker.expect(Welcome, 5)
    assert (welcome.node_id, welcome.heartbeat, welcome.managers) == ("n1", 1.0, ("10.0.0.1:2377",))
    node = manager.store.view.nodes.get("n1")
    assert node is not None
    assert node.status == NodeStatus(state="ready", addr="10.0.0.77")
    assert node.description.hostname == "alpha"
    first = await worker.expect(Assignments)
    assert first.complete


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"role": ROLE_MANAGER}, PermissionDenied, "cannot be used as a worker's"),
        ({"cluster": "other"}, Unauthenticated, "is of cluster 'other'"),
        ({"serial": "8"}, PermissionDenied, "is no longer valid"),
        ({"node_id": "gone"}, PermissionDenied, "is not part of this cluster"),
    ],
)
async def test_a_wrong_certificate_gets_no_session(
    manager: Manager, fields: dict[str, str], error: type[SwarmError], words: str
) -> None:
    await manager.node("n1")
    worker = manager.dial(**{"node_id": "n1", **fields})
    with pytest.raises(error, match=words):
        await worker.hello()
    with pytest.raises(ChannelClosed):
        await worker.channel.receive()
    assert not manager.dispatcher.connected


async def test_without_a_certificate_there_is_no_session_or_stream(manager: Manager) -> None:
    stranger = manager.connect(PeerInfo(None, "10.0.0.66", "10.0.0.1"))
    with pytest.raises(Unauthenticated, match="no certificate was shown"):
        await stranger.hello()
    stranger = manager.connect(PeerInfo(None, "10.0.0.66", "10.0.0.1"))
    await stranger.say(StreamHello(stream_id="x"))
    assert (await stranger.expect(Refused)).code == "Unauthenticated"


async def test_another_protocol_version_is_told_the_release_to_install(manager: Manager) -> None:
    await manager.node("n1")
    worker = manager.dial("n1")
    await worker.say(Hello(protocol=99, description=NodeDescription()))
    refused = await worker.expect(Refused)
    assert refused.code == FailedPrecondition.code
    assert "protocol 99" in refused.message


async def test_a_connection_cannot_begin_with_anything_else(manager: Manager) -> None:
    worker = manager.dial("n1")
    await worker.say(Heartbeat())
    assert "cannot begin with Heartbeat" in (await worker.expect(Refused)).message


def test_who_says_nothing_is_put_out_after_ten_seconds() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = manager.dial("n1")
            assert "said nothing for 10 s" in (await worker.expect(Refused)).message
            assert asyncio.get_running_loop().time() == pytest.approx(10)

    run_virtual(story())


async def test_a_second_session_of_a_node_replaces_the_first(manager: Manager) -> None:
    first = await manager.session("n1")
    second = await manager.session("n1")
    assert "another session of node n1" in (await first.expect(Refused)).message
    await second.say(Heartbeat(), 2)
    await second.expect(HeartbeatAck, 2)
    assert list(manager.dispatcher.connected) == ["n1"]


async def test_a_removed_node_is_put_out_at_once_and_cannot_come_back(manager: Manager) -> None:
    worker = await manager.session("n1")
    await manager.remove(manager.store.view.nodes.get("n1") or Node())
    assert (await worker.expect(Refused)).code == "PermissionDenied"
    with pytest.raises(PermissionDenied):
        await manager.dial("n1").hello()


def large(count: int) -> NodeDescription:
    """Make a description that takes few bytes for many values."""
    return NodeDescription(engine=EngineDescription(plugins=(Plugin(),) * count))


async def test_a_description_of_15_mib_ends_the_session_without_memory(manager: Manager) -> None:
    """Read whole, it takes 55 times as much."""
    worker = await manager.session("n1")
    message = NodeReport(description=large(15 << 20))
    tracemalloc.start()
    try:
        await worker.say(message)
        sent, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        refused = await worker.expect(Refused)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "oversize NodeReport" in refused.message
    assert peak - sent < 1 << 20
    assert not manager.dispatcher.connected


async def test_a_worker_does_not_say_what_managers_say(manager: Manager) -> None:
    worker = await manager.session("n1")
    await worker.say(Assignments(complete=True, results_in=1))
    assert "Assignments: no such message" in (await worker.expect(Refused)).message


# --- alive or not -----------------------------------------------------------------------------------------------------


def state_of(manager: Manager, node_id: str) -> str:
    node = manager.store.view.nodes.get(node_id)
    assert node is not None
    return node.status.state


async def became(manager: Manager, node_id: str, state: str) -> float:
    """Wait until a node is in a state; return the loop's time of its commit."""
    with manager.store.watch() as changes:
        while state_of(manager, node_id) != state:
            await changes.next()
    return asyncio.get_running_loop().time()


def test_a_silent_node_is_down_in_three_seconds_with_its_session() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            await asyncio.sleep(2)
            await worker.say(Heartbeat())
            last = asyncio.get_running_loop().time()
            assert await became(manager, "n1", "down") - last == pytest.approx(3, abs=0.02)
            assert (await worker.expect(Refused)).code == Unavailable.code

    run_virtual(story())


def test_a_worker_that_restarts_within_its_grace_is_never_down() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            for _ in range(5):
                worker = await manager.session("n1")
                await asyncio.sleep(0.5)
                worker.channel.drop()
                await asyncio.sleep(2)
                assert state_of(manager, "n1") == "ready"
            worker = await manager.session("n1")
            worker.channel.drop()
            lost = asyncio.get_running_loop().time()
            assert await became(manager, "n1", "down") - lost == pytest.approx(3, abs=0.02)
            await manager.session("n1")
            assert state_of(manager, "n1") == "ready"

    run_virtual(story())


def test_after_a_restart_nodes_have_ten_seconds_to_return() -> None:
    async def story() -> None:
        backend = MemoryBackend()
        async with Manager(backend).running() as manager:
            await manager.session("back")
            await manager.session("dead")
        async with Manager(backend).running() as manager:
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(9)
            assert (state_of(manager, "back"), state_of(manager, "dead")) == ("ready", "ready")
            worker = await manager.session("back")
            assert await became(manager, "dead", "down") - started == pytest.approx(10, abs=0.02)
            await worker.say(Heartbeat())
            assert state_of(manager, "back") == "ready"

    run_virtual(story())


def test_after_a_restore_any_certificate_will_do_for_15_minutes() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            status = NodeStatus(state="unknown", addr="10.0.0.9")
            for name in ("back", "dead"):
                await manager.put(Node(id=name, agent=True, certificate_serials=(ANY_CERTIFICATE,), status=status))
            manager.dispatcher._expect_nodes()
            await asyncio.sleep(RESTORE_GRACE - 1)
            assert (state_of(manager, "back"), state_of(manager, "dead")) == ("unknown", "unknown")
            await manager.dial("back", serial="renewed").hello()
            assert state_of(manager, "back") == "ready"
            assert manager.store.view.nodes.get("back").certificate_serials == ("renewed",)  # type: ignore[union-attr]
            with pytest.raises(PermissionDenied, match="is no longer valid"):
                await manager.dial("back", serial="old").hello()
            await became(manager, "dead", "down")
            assert asyncio.get_running_loop().time() == pytest.approx(RESTORE_GRACE, abs=0.02)

    run_virtual(story())


def test_a_thousand_nodes_that_return_at_once_are_a_few_commits() -> None:
    class Counting(MemoryBackend):
        commits = 0

        async def commit(self, change_sets: object) -> None:
            self.commits += 1
            await super().commit(change_sets)  # type: ignore[arg-type]

    async def story() -> None:
        backend = Counting(delay=0.002)
        async with Manager(backend).running() as manager:
            nodes = [Node(id=f"n{i}", agent=True, certificate_serials=("7",)) for i in range(1000)]
            await manager.put(*nodes)
            backend.commits = 0
            await asyncio.gather(*(manager.session(node.id) for node in nodes))
            assert len(manager.dispatcher.connected) == 1000
            assert backend.commits <= 10

    run_virtual(story())


async def test_a_worker_that_leaves_is_down_and_its_certificate_void(manager: Manager) -> None:
    worker = await manager.session("n1")
    await worker.say(Leave(), 9)
    await worker.expect(LeaveAck, 9)
    assert state_of(manager, "n1") == "down"
    with pytest.raises(PermissionDenied):
        await manager.dial("n1").hello()


async def test_a_manager_whose_worker_left_may_get_another(manager: Manager) -> None:
    await manager.put(
        Node(id="m1", agent=True, certificate_serials=("7",), manager_status=ManagerStatus(addr="10.0.0.1:2377"))
    )
    worker = await manager.session("m1")
    await worker.say(Leave(), 1)
    await worker.expect(LeaveAck)
    node = manager.store.view.nodes.get("m1")
    assert node is not None
    assert (node.agent, node.status.state) == (False, "ready")


def test_a_hosts_changes_are_written_at_most_once_a_second() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            version = manager.store.view.index
            for number in range(50):
                await worker.say(NodeReport(description=NodeDescription(hostname="host", agent_version=f"{number}")))
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            node = manager.store.view.nodes.get("n1")
            assert node is not None
            assert node.description.agent_version == "49"
            assert manager.store.view.index - version <= 7

    run_virtual(story())


# --- reports ----------------------------------------------------------------------------------------------------------


async def test_a_report_is_acknowledged_when_it_is_committed(manager: Manager) -> None:
    worker = await manager.session("n1")
    await manager.put(task("t1", "n1"), task("t2", "n1"))
    await worker.say(StatusReport(tasks=(report("t1", TaskState.RUNNING), report("t2", TaskState.PREPARING))), 4)
    await worker.expect(StatusAck, 4)
    states = {t.id: t.status.state for t in manager.store.view.tasks}
    assert states == {"t1": TaskState.RUNNING, "t2": TaskState.PREPARING}


def test_a_state_is_written_after_the_volumes_told_before_it() -> None:
    """A slot is bound to the volumes that its task has come to have: it is to be seen that it has them."""

    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            await manager.put(task("t1", "n1"))
            for number in range(3):  # the last waits for its turn
                seen = SeenVolume(name="data", data_id=f"{number:032x}")
                await worker.say(VolumeReport(volumes=(seen,)))
                await asyncio.sleep(0.01)
            await worker.say(StatusReport(tasks=(report("t1", TaskState.RUNNING),)), 5)
            await worker.expect(StatusAck, 5)
            (volume,), (told,) = manager.store.view.volumes, manager.store.view.tasks
            assert volume.data_id == f"{2:032x}"
            assert volume.version.index < told.version.index

    run_virtual(story())


async def test_states_only_advance_and_a_worker_only_uses_its_own(manager: Manager) -> None:
    worker = await manager.session("n1")
    await manager.put(task("t1", "n1", TaskState.RUNNING), task("t2", "n1"), task("t3", "n1", TaskState.FAILED))
    back = (report("t1", TaskState.STARTING), report("t2", TaskState.ORPHANED), report("t3", TaskState.RUNNING))
    await worker.say(StatusReport(tasks=back), 4)
    await worker.expect(StatusAck, 4)
    states = [t.status.state for t in manager.store.view.tasks]
    assert states == [TaskState.RUNNING, TaskState.ASSIGNED, TaskState.FAILED]


async def test_reports_on_others_tasks_change_nothing(manager: Manager) -> None:
    worker = await manager.session("n1")
    await manager.put(task("own", "n1"), task("other", "n2"))
    await worker.say(StatusReport(tasks=(report("other", TaskState.FAILED), report("own", TaskState.RUNNING))), 4)
    await worker.expect(StatusAck, 4)
    states = {t.id: t.status.state for t in manager.store.view.tasks}
    assert states == {"own": TaskState.RUNNING, "other": TaskState.ASSIGNED}


async def test_a_report_is_not_acknowledged_when_the_store_refuses_it() -> None:
    backend = FullBackend()
    async with Manager(backend).running() as manager:
        worker = await manager.session("n1")
        await manager.put(task("t1", "n1"))
        backend.full = True
        await worker.say(StatusReport(tasks=(report("t1", TaskState.RUNNING),)), 4)
        heard = [message async for message in worker.rest()]
        assert not any(isinstance(message, StatusAck) for message in heard)
        assert Refused(code="Unavailable", message="the disk is full") in heard
        backend.full = False
        await manager.session("n1")  # the dispatcher itself is none the worse


# --- assignments ------------------------------------------------------------------------------------------------------


async def test_an_assigned_task_is_sent_and_reports_are_not_echoed(manager: Manager) -> None:
    worker = await manager.session("n1")
    base = await worker.expect(Assignments)
    await manager.put(task("t1", "n1", TaskState.PENDING), task("t2", "n2"))
    await manager.put(task("t1", "n1"))
    update = await worker.expect(Assignments)
    assert [t.id for t in update.tasks] == ["t1"]
    assert (update.complete, update.applies_to, update.results_in) == (False, base.results_in, base.results_in + 1)
    await worker.say(StatusReport(tasks=(report("t1", TaskState.RUNNING),)), 2)
    await worker.expect(StatusAck, 2)
    current = manager.store.view.tasks.get("t1")
    assert current is not None
    await manager.put(msgspec.structs.replace(current, desired_state=TaskState.SHUTDOWN))
    update = await worker.expect(Assignments)
    assert [t.desired_state for t in update.tasks] == [TaskState.SHUTDOWN]
    await manager.remove(current)
    assert (await worker.expect(Assignments)).removed_tasks == ("t1",)


async def test_a_resync_gets_a_complete_set(manager: Manager) -> None:
    await manager.put(task("t1", "n1"))
    worker = await manager.session("n1")
    first = await worker.expect(Assignments)
    await worker.say(Resync())
    again = await worker.expect(Assignments)
    assert again.complete
    assert again.tasks == first.tasks
    assert again.results_in > first.results_in


def test_changes_that_meet_a_bug_block_no_others_and_are_retried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hear = Directory.mark_changes

    def hear_with_a_bug(directory: Directory, changes: Collection[Change]) -> None:
        if any(change.current.id == "bad" for change in changes):
            raise RuntimeError("a bug")
        hear(directory, changes)

    monkeypatch.setattr(Directory, "mark_changes", hear_with_a_bug)
    monkeypatch.setattr(notices, "PAUSE_SECONDS", 1.0)

    async def story() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            await worker.expect(Assignments)
            await manager.put(task("bad", "n1"))
            await manager.put(task("good", "n1"))
            assert [t.id for t in (await worker.expect(Assignments)).tasks] == ["good"]
            assert asyncio.get_running_loop().time() < 0.1
            again = await worker.expect(Assignments)
            assert again.complete
            assert [t.id for t in again.tasks] == ["bad", "good"]
            assert asyncio.get_running_loop().time() == pytest.approx(1, abs=0.1)
            await manager.remove(task("bad", "n1"))
            assert (await worker.expect(Assignments)).complete

    run_virtual(story())
    assert "cannot tell which nodes changes concern" in caplog.text


async def test_credentials_precede_their_task_and_are_sent_once(manager: Manager) -> None:
    await manager.put(RegistryLogin(id="s1", auth='{"password":"x"}'))
    worker = await manager.session("n1")
    await worker.expect(Assignments)
    await manager.put(Service(id="s1", spec=ServiceSpec(name="web")), task("t1", "n1"))
    assert (await worker.channel.receive()).message == RegistryAuth(service_id="s1", auth='{"password":"x"}')
    assert (await worker.expect(Assignments)).tasks
    await manager.put(task("t2", "n1"))
    assert isinstance((await worker.channel.receive()).message, Assignments)
