"""What the timeline is made of where nobody watched: what objects and requests still tell."""

from common.model import Node, Secret, Service, Task, TaskState, TaskStatus
from common.model.node import Joining, NodeDescription, NodeStatus
from common.model.secret import SecretSpec
from common.model.service import PastSpec, Replicated, ServiceMode, ServiceSpec
from common.model.task import RestartRecord
from common.model.update import TasksFailed, UpdateState, UpdateStatus
from manager.overview.counters import Counters
from manager.overview.past import GrantedRequest, entries_of_past, entries_of_requests, gone_of, in_order, short_since
from manager.overview.timeline import KEPT, Entry, Kind, Named
from tests.fakes.world import World, replace, template

SPEC = ServiceSpec(name="web", task_template=template("web:3"), mode=ServiceMode(replicated=Replicated(replicas=2)))
PAST = tuple(
    PastSpec(revision=number, spec=replace(SPEC, task_template=template(f"web:{number}")), replaced_at=at)
    for number, at in ((2, 300.0), (1, 200.0))
)
SERVICE = Service(id="s1", spec=SPEC, history=PAST, created_at=100.0, updated_at=420.0)
NODE = Node(
    id="n1",
    description=NodeDescription(hostname="w1"),
    status=NodeStatus(state="ready"),
    created_at=10.0,
    updated_at=50.0,
)


def of_requests(asked: tuple[GrantedRequest, ...], world: World) -> list[Entry]:
    return list(entries_of_requests(asked, gone_of(asked, world.tables), world.tables))


def told(
    *values: Service | Node | Secret | Task, asked: tuple[GrantedRequest, ...] = ()
) -> list[tuple[float, str, str]]:
    world = World()
    world.put(NODE, SERVICE)
    entries = [*entries_of_past(values, world.tables), *of_requests(asked, world)]
    return [(entry.at, entry.text, entry.by) for entry in in_order(entries, asked)]


def test_a_service_tells_its_making_and_its_changes_in_order() -> None:
    assert told(SERVICE) == [
        (100.0, "web was created", ""),
        (200.0, "web was changed: image web:1 → web:2", ""),
        (300.0, "web was changed: image web:2 → web:3", ""),
    ]


def test_an_update_tells_its_beginning_and_its_end() -> None:
    ended = UpdateStatus(state=UpdateState.COMPLETED, started_at=300.5, completed_at=320.0)
    assert told(replace(SERVICE, history=(), update_status=ended))[1:] == [
        (300.5, "web: update in progress", ""),
        (320.0, "web: update completed", ""),
    ]
    paused = UpdateStatus(state=UpdateState.PAUSED, started_at=300.5)
    assert told(replace(SERVICE, history=(), update_status=paused))[-1][:2] == (420.0, "web: update paused")
    failed = replace(paused, reason=TasksFailed(task="t1", failed=2, of=6, error="exit 1"))
    story = told(replace(SERVICE, history=(), update_status=failed))[-1][1]
    assert story == "web: update paused, 2 of 6 tasks failed: exit 1"
    rolled = UpdateStatus(state=UpdateState.ROLLBACK_COMPLETED, started_at=300.5, completed_at=330.0)
    assert [each[0] for each in told(replace(SERVICE, history=(), update_status=rolled))] == [100.0, 330.0]


def test_tasks_that_ended_badly_or_wait_are_told_alone() -> None:
    def task(state: TaskState, err: str = "") -> Task:
        return Task(
            id=f"t{state}",
            service_id="s1",
            service_name="web",
            slot=1,
            node_id="n1",
            status=TaskStatus(state=state, err=err),
            updated_at=float(state),
        )

    tasks = [
        task(TaskState.FAILED, "exit 1"),
        task(TaskState.RUNNING),
        task(TaskState.SHUTDOWN),
        replace(task(TaskState.PENDING, "no suitable node"), node_id=""),
    ]
    assert [text for _, text, _ in told(*tasks)] == ["web.1 waits: no suitable node", "web.1 failed on w1: exit 1"]


def test_a_node_tells_that_it_joined_and_that_it_is_down() -> None:
    down = replace(NODE, status=NodeStatus(state="down", message="heartbeat failure"))
    assert told(NODE) == [(10.0, "w1 joined the cluster", "")]
    assert told(down)[1:] == [(50.0, "w1 is down: heartbeat failure", "")]
    assert told(replace(NODE, agent=True, status=NodeStatus(state="unknown"), joining=Joining())) == []


def test_requests_say_who_asked_and_what_was_removed() -> None:
    secret = Secret(id="x1", spec=SecretSpec(name="key", data=b"hunter2"), created_at=500.0, updated_at=500.0)
    asked = (
        GrantedRequest(600.5, "ann", "DELETE", "/v1.43/services/shop_old", "s9"),
        GrantedRequest(300.2, "bob", "POST", "/services/web/update", "s1"),
        GrantedRequest(290.0, "eve", "POST", "/services/web/update", "s1"),
        GrantedRequest(500.1, "ann", "POST", "/secrets/create", "x1"),
        GrantedRequest(610.0, "ann", "DELETE", "/containers/abc", "abc"),
        GrantedRequest(620.0, "ann", "DELETE", "/services/web", "s1"),
    )
    assert told(SERVICE, secret, asked=asked)[2:] == [
        (300.0, "web was changed: image web:2 → web:3", "bob"),
        (500.0, "secret key was created", "ann"),
        (600.5, "shop_old was removed", "ann"),
    ]


def test_what_was_removed_by_its_id_has_the_name_that_it_had() -> None:
    """As `stack rm` removes what it has looked up."""
    key, old = "k" * 25, "o" * 25
    asked = (
        GrantedRequest(600.0, "ann", "DELETE", f"/secrets/{key}", key, "shop_key"),
        GrantedRequest(601.0, "ann", "DELETE", f"/v1.43/services/{key}", key, "shop_web"),
        GrantedRequest(602.0, "ann", "DELETE", f"/services/{old}", old),
        GrantedRequest(603.0, "ann", "DELETE", f"/networks/{old}", old),
    )
    assert [text for _, text, _ in told(asked=asked)] == [
        "secret shop_key was removed",
        "shop_web was removed",
        "service oooooooooooo was removed",
        "network oooooooooooo was removed",
    ]
    (entry, *_) = of_requests(asked[1:], World())
    assert (entry.object.name, entry.concerns("shop_web")) == ("shop_web", True)


def test_what_a_removed_stack_was_is_found_under_its_name() -> None:
    """As after `stack deploy`, an update, `stack rm` and a start of the manager."""
    web, key, other = "w" * 25, "k" * 25, "o" * 25
    asked = (
        GrantedRequest(599.0, "ann", "POST", "/v1.47/stacks/shop/deploy", "shop"),
        GrantedRequest(600.0, "ann", "POST", "/v1.47/services/create", web),
        GrantedRequest(601.0, "bob", "POST", f"/services/{web}/update", web, "shop_web", "shop"),
        GrantedRequest(602.0, "bob", "DELETE", f"/services/{web}", web, "shop_web", "shop"),
        GrantedRequest(603.0, "bob", "DELETE", f"/secrets/{key}", key, "shop_key", "shop"),
        GrantedRequest(604.0, "bob", "DELETE", f"/configs/{other}", other, "other"),
    )
    found = [entry for entry in of_requests(asked, World()) if entry.concerns("shop")]
    assert [(entry.text, entry.by) for entry in found] == [
        ("stack shop was deployed", "ann"),
        ("shop_web was created", "ann"),
        ("shop_web was changed", "bob"),
        ("shop_web was removed", "bob"),
        ("secret shop_key was removed", "bob"),
    ]


def test_of_what_is_there_requests_tell_only_that_it_goes() -> None:
    """Its making and its changes it tells itself; while its tasks stop a service is there, and removed."""
    world = World()
    labels = {"com.docker.stack.namespace": "shop"}
    world.put(replace(SERVICE, spec=replace(SPEC, labels=labels)))
    asked = (
        GrantedRequest(599.0, "ann", "POST", "/stacks/shop/deploy", "shop"),
        GrantedRequest(600.0, "ann", "POST", "/services/create", "s1"),
        GrantedRequest(601.0, "ann", "POST", "/services/s1/update", "s1", "web", "shop"),
        GrantedRequest(602.0, "ann", "DELETE", "/services/s1", "s1", "web", "shop"),
        GrantedRequest(603.0, "ann", "DELETE", "/images/acme/services/s1", "acme/services/s1"),
    )
    assert of_requests(asked, world) == []
    world.put(replace(SERVICE, pending_delete=True))
    assert [entry.text for entry in of_requests(asked, world)] == [
        "stack shop was deployed",
        "web was removed",
    ]


def test_no_more_is_kept_than_the_timeline_keeps() -> None:
    entries = [Entry(at=float(at), kind=Kind.NODE_STATE, text="", object=Named(kind="node")) for at in range(KEPT + 3)]
    kept = in_order(reversed(entries), ())
    assert (len(kept), kept[0].at, kept[-1].at) == (KEPT, 3.0, KEPT + 2.0)


def attempt(number: int, state: TaskState, created: float, ran: float, ended: float) -> Task:
    return Task(
        id=f"t{number}",
        service_id="s1",
        service_name="web",
        slot=1,
        node_id="n1",
        created_at=created,
        updated_at=ended,
        status=TaskStatus(state=state),
        desired_state=TaskState.SHUTDOWN if state.terminal else TaskState.RUNNING,
        restart=RestartRecord(running_since=ran),
    )


def test_a_service_is_short_since_its_last_good_run() -> None:
    tasks = (
        attempt(1, TaskState.FAILED, 100.0, 101.0, 1000.0),
        attempt(2, TaskState.FAILED, 1001.0, 1002.0, 1003.0),
        attempt(3, TaskState.STARTING, 1010.0, 0.0, 1011.0),
        replace(attempt(4, TaskState.RUNNING, 100.0, 101.0, 101.0), slot=2),
    )
    world = World()
    world.put(SERVICE, *tasks)
    counters = Counters(world.tables)
    counters.begin([SERVICE, *tasks])
    assert counters.services["s1"].short_since
    assert short_since(counters.services["s1"], world.tables) == 1000.0


def test_without_a_task_it_is_short_since_it_was_changed() -> None:
    world = World()
    counters = Counters(world.tables)
    counters.begin([SERVICE])
    assert short_since(counters.services["s1"], world.tables) == SERVICE.updated_at


def test_what_is_lost_is_lacking_since_its_node_was_down() -> None:
    world = World()
    world.now = 500.0
    node = Node(id="n1", status=NodeStatus(state="down"))
    task = attempt(1, TaskState.RUNNING, 100.0, 101.0, 101.0)
    world.put(node, SERVICE, task)
    counters = Counters(world.tables)
    counters.begin([node, SERVICE, task])
    assert counters.services["s1"].short_since
    assert short_since(counters.services["s1"], world.tables) == 500.0
