"""What is wrong, in words, the worst first."""

from collections.abc import Sequence

from msgspec.structs import replace

from common.model import Node, Service, Task, TaskState, TaskStatus
from common.model.node import ClockOffset, NodeSpec, NodeStatus
from common.model.service import Global, Replicated, ReplicatedJob, ServiceMode, ServiceSpec
from common.model.update import Action, Requested, TasksFailed, UpdateState, UpdateStatus
from manager.overview.counters import Counters
from manager.overview.marks import Mark
from manager.overview.rows import ServiceState, boxes_of_service, service_row
from manager.overview.summary import summarize
from manager.overview.trouble import Trouble, TroubleKind
from manager.store.changes import Change
from manager.store.tables import Tables
from manager.store.transaction import Transaction

NOW = 1000.0


class World:
    """A cluster that changes at `NOW`, or when a test says."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.counters = Counters(self.tables)

    def put(self, *values: Node | Service | Task, at: float = NOW) -> None:
        tx = Transaction(self.tables, at)
        for value in values:
            tx.put(value)
        for change in tx.change_set().changes:
            self.counters.apply(Change(old=change.old, new=change.new), at)
        tx.merge()
        self.tables.index += 1

    def wrong(self, at: float = NOW) -> list[Trouble]:
        return list(summarize(self.counters, self.tables, (), at).trouble)


def service(name: str, replicas: int, update: UpdateStatus | None = None) -> Service:
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    return Service(id=name, spec=ServiceSpec(name=name, mode=mode), update_status=update)


def task(name: str, slot: int, state: TaskState, err: str = "", node: str = "n") -> Task:
    return Task(
        id=f"{name}.{slot}.{state.name}",
        service_id=name,
        service_name=name,
        slot=slot,
        node_id=node if state > TaskState.PENDING else "",
        status=TaskStatus(state=state, err=err),
        desired_state=TaskState.RUNNING,
    )


def running(name: str, count: int) -> Sequence[Task]:
    return [task(name, slot, TaskState.RUNNING) for slot in range(1, count + 1)]


def test_nothing_is_wrong_with_what_runs_or_was_just_made():
    world = World()
    world.put(service("web", 2), *running("web", 2), service("new", 1))
    assert world.wrong() == []
    (short,) = world.wrong(NOW + 60)
    assert (short.kind, short.text) == (TroubleKind.SERVICE_DOWN, "new is down, 0 of 1 task run")


def test_the_worst_comes_first():
    world = World()
    world.put(service("short", 2), *running("short", 1), task("short", 2, TaskState.PENDING, "no suitable node (x)"))
    world.put(service("down", 1), task("down", 1, TaskState.FAILED, "exit 1"))
    node = Node(id="w", spec=NodeSpec(name="w7"), status=NodeStatus(state="ready"), certificate_serials=("1",))
    world.put(node)
    world.put(replace(node, status=NodeStatus(state="down", message="no sign of life")), at=NOW + 5)
    found = world.wrong(NOW + 10)
    assert [each.kind for each in found] == [TroubleKind.SERVICE_DOWN, TroubleKind.NODE_DOWN, TroubleKind.TASKS_WAIT]
    assert [each.text for each in found] == [
        "down is down, 0 of 1 task run: exit 1",
        "node w7 is down (no sign of life)",
        "short 1/2: 1 task without a node: no suitable node (x)",
    ]
    assert [each.since for each in found] == [NOW, NOW + 5, NOW]


def test_many_nodes_that_are_down_are_one_trouble():
    world = World()
    for number in range(1, 6):
        node = Node(id=f"w{number}", spec=NodeSpec(name=f"w{number}"), certificate_serials=("1",))
        world.put(replace(node, status=NodeStatus(state="down" if number < 5 else "ready")), at=NOW + number)
    world.put(service("web", 1), replace(running("web", 1)[0], node_id="w4"), at=NOW + 6)
    (down,) = world.wrong(NOW + 10)
    assert down.text == "4 nodes are down, w1, w2, w3 and 1 more: nothing is known of 1 task there"
    assert (down.kind, down.since, down.command) == (TroubleKind.NODE_DOWN, NOW + 1, "swarm-manager node ls")
    world.put(Node(id="w4", spec=NodeSpec(name="w4"), status=NodeStatus(state="ready")), at=NOW + 7)
    assert [each.object.name for each in world.wrong(NOW + 10)] == ["w1", "w2", "w3"]


def test_tasks_on_a_node_that_is_down_are_lost_and_do_not_run():
    world = World()
    for name, state in (("w1", "ready"), ("w2", "down")):
        world.put(Node(id=name, spec=NodeSpec(name=name), status=NodeStatus(state=state)))
    one, two, three = running("web", 3)
    world.put(service("web", 3), replace(one, node_id="w1"), replace(two, node_id="w2"), replace(three, node_id="w2"))
    assert summarize(world.counters, world.tables, (), NOW).totals.tasks == {Mark.RUNNING: 1, Mark.LOST: 2}
    world.put(Node(id="w2", spec=NodeSpec(name="w2"), status=NodeStatus(state="ready")), at=NOW + 1)
    assert summarize(world.counters, world.tables, (), NOW).totals.tasks == {Mark.RUNNING: 3}


def a_node(name: str, state: str) -> Node:
    return Node(id=name, spec=NodeSpec(name=name), status=NodeStatus(state=state))


def test_a_service_does_not_run_on_a_node_that_is_down():
    world = World()
    one, two = running("web", 2)
    world.put(a_node("w1", "ready"), a_node("w2", "ready"))
    world.put(service("web", 2), replace(one, node_id="w1"), replace(two, node_id="w2"))
    world.put(a_node("w2", "down"))
    row = service_row(world.counters.services["web"], NOW + 31)
    assert row is not None
    assert (row.running, row.desired, row.state) == (1, 2, ServiceState.SHORT)
    assert row.tasks == {Mark.RUNNING: 1, Mark.LOST: 1}
    assert world.counters.services["web"].short_since == NOW
    boxes = {box.slot: box.mark for box in boxes_of_service("web", world.counters, world.tables)}
    assert boxes == {1: Mark.RUNNING, 2: Mark.LOST}
    world.put(a_node("w2", "ready"))
    back = service_row(world.counters.services["web"], NOW + 32)
    assert back is not None
    assert (back.running, back.state, back.tasks) == (2, ServiceState.WELL, {Mark.RUNNING: 2})


def test_a_global_service_lacks_nothing_but_its_nodes():
    """No other node can have what is lost: the node is the trouble, until none is left that runs it."""
    world = World()
    agent = Service(id="agent", spec=ServiceSpec(name="agent", mode=ServiceMode(global_=Global())))
    world.put(a_node("w1", "ready"), a_node("w2", "down"), agent)
    world.put(*(replace(task("agent", 0, TaskState.RUNNING), id=each, node_id=each) for each in ("w1", "w2")))
    row = service_row(world.counters.services["agent"], NOW + 31)
    assert row is not None
    assert (row.running, row.desired, row.state) == (1, 1, ServiceState.WELL)
    world.put(a_node("w2", "ready"))
    assert world.counters.services["agent"].desired == 2
    world.put(a_node("w1", "down"), a_node("w2", "down"))
    row = service_row(world.counters.services["agent"], NOW + 31)
    assert row is not None
    assert (row.running, row.desired, row.state) == (0, 2, ServiceState.DOWN)
    assert TroubleKind.SERVICE_DOWN in {each.kind for each in world.wrong(NOW + 31)}


def test_a_global_task_that_never_ran_is_lost_with_its_node():
    world = World()
    agent = Service(id="agent", spec=ServiceSpec(name="agent", mode=ServiceMode(global_=Global())))
    world.put(a_node("w1", "ready"), a_node("w2", "ready"), a_node("w3", "ready"), agent)
    states = {"w1": TaskState.RUNNING, "w2": TaskState.STARTING, "w3": TaskState.STARTING}
    world.put(*(replace(task("agent", 0, state), id=node, node_id=node) for node, state in states.items()))
    world.put(a_node("w2", "down"))
    row = service_row(world.counters.services["agent"], NOW + 31)
    assert row is not None
    assert (row.running, row.desired, row.state) == (1, 2, ServiceState.SHORT), "w3 is there, and does not start it"


def test_many_failures_in_ten_minutes_are_a_loop():
    world = World()
    world.put(service("web", 2), *running("web", 2))
    for number in range(4):
        failing = replace(task("web", 3, TaskState.RUNNING), id=f"f{number}")
        world.put(failing)
        world.put(
            replace(failing, status=TaskStatus(state=TaskState.FAILED, err="exit 3"), desired_state=TaskState.REMOVE)
        )
    (loop,) = world.wrong()
    assert (loop.kind, loop.text) == (TroubleKind.CRASH_LOOP, "web 2/2: 4 tasks failed in ten minutes: exit 3")
    assert world.wrong(NOW + 700) == []


def test_an_update_that_halts_or_was_taken_back_is_told():
    world = World()
    reason = TasksFailed(task="t", failed=1, of=2, error="exit 1")
    world.put(service("web", 1, UpdateStatus(state=UpdateState.PAUSED, reason=reason)), *running("web", 1))
    (halted,) = world.wrong()
    assert halted.kind is TroubleKind.UPDATE_HALTED
    assert halted.text == "web 1/1: update paused, 1 of 2 tasks failed: exit 1"
    row = service_row(world.counters.services["web"], NOW)
    assert row is not None
    assert row.error == "update paused, 1 of 2 tasks failed: exit 1"
    back = UpdateStatus(state=UpdateState.ROLLBACK_COMPLETED, completed_at=NOW, reason=reason)
    world.put(service("web", 1, back))
    (rolled,) = world.wrong()
    assert rolled.text == "the update of web failed, and was rolled back: exit 1"
    assert world.wrong(NOW + 3601) == []
    asked = Requested(action=Action.ROLLBACK, by="alice")
    world.put(service("web", 1, UpdateStatus(state=UpdateState.ROLLBACK_COMPLETED, completed_at=NOW, reason=asked)))
    assert world.wrong() == []


def test_a_job_is_wrong_when_it_failed_for_good():
    world = World()
    mode = ServiceMode(replicated_job=ReplicatedJob())
    world.put(Service(id="job", spec=ServiceSpec(name="job", mode=mode)), task("job", 1, TaskState.COMPLETE))
    assert world.wrong(NOW + 100) == []
    world.put(task("job", 2, TaskState.FAILED, "exit 2"))
    (failed,) = world.wrong()
    assert (failed.kind, failed.text) == (TroubleKind.JOB_FAILED, "job job failed: exit 2")


def test_a_task_of_a_job_that_finds_no_node_is_told():
    world = World()
    mode = ServiceMode(replicated_job=ReplicatedJob())
    waits = task("job", 1, TaskState.PENDING, "no suitable node")
    world.put(Service(id="job", spec=ServiceSpec(name="job", mode=mode)), waits)
    (waiting,) = world.wrong()
    assert (waiting.kind, waiting.text) == (TroubleKind.TASKS_WAIT, "job 0/1: 1 task without a node: no suitable node")


def test_a_node_that_comes_back_soon_is_not_trouble():
    world = World()
    world.put(Node(id="w", status=NodeStatus(state="disconnected"), certificate_serials=("1",)))
    assert world.wrong(NOW + 30) == []
    assert [each.kind for each in world.wrong(NOW + 61)] == [TroubleKind.NODE_AWAY]
    world.put(Node(id="w", status=NodeStatus(state="down")))  # it has left
    assert world.wrong(NOW + 61) == []


def clocked(name: str, seconds: int, state: str = "ready") -> Node:
    offset = ClockOffset(seconds=seconds, since=NOW - 60) if seconds else None
    return Node(
        id=name,
        spec=NodeSpec(name=name),
        status=NodeStatus(state=state),
        certificate_serials=("1",),
        clock_offset=offset,
    )


def test_a_clock_that_is_off_is_told_while_it_is():
    world = World()
    world.put(clocked("w1", -720), clocked("w2", 0))
    (found,) = world.wrong()
    assert (found.kind, found.since) == (TroubleKind.NODE_CLOCK, NOW - 60)
    assert found.text == "the clock of node w1 is 12 minutes behind the manager's"
    assert found.command == "swarm-manager node inspect --pretty w1"
    world.put(clocked("w1", 0))
    assert world.wrong() == []
    world.put(clocked("w1", -720, "down"))
    assert [each.kind for each in world.wrong()] == [TroubleKind.NODE_DOWN]


def test_clocks_that_are_all_off_are_one_trouble():
    """It is the manager's own that is wrong."""
    world = World()
    world.put(*(clocked(f"w{number}", 720) for number in range(5)))
    (found,) = world.wrong()
    assert found.text.startswith("the clocks of 5 nodes are not the manager's; that of node w0 is 12 minutes ahead")
    assert "the manager's own" in found.hint
