"""Which changes of the store are entries of the timeline, and what these say."""

from itertools import product

from common.model import Config, Network, Node, Secret, Service, Task, TaskState, TaskStatus
from common.model.container import ContainerSpec
from common.model.network import NetworkSpec
from common.model.node import LEFT, ClockOffset, Joining, ManagerStatus, NodeDescription, NodeStatus
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import (
    STACK_LABEL,
    EndpointSpec,
    Limits,
    PortConfig,
    Replicated,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from common.model.volume import VolumeClaim
from manager.domain.hostnames import node_name
from manager.orchestrate.housekeeping import enforce
from manager.overview.entries import entries_of, is_silent, spec_changes, task_name
from manager.overview.timeline import Entry, Kind, Level
from manager.store.changes import Change
from tests.fakes.world import World, replace, template

SERVICE = Service(
    id="s1",
    spec=ServiceSpec(
        name="shop_web",
        labels={STACK_LABEL: "shop"},
        task_template=template("web:1"),
        mode=ServiceMode(replicated=Replicated(replicas=2)),
    ),
    updated_at=5.0,
)
NODE = Node(id="n1", description=NodeDescription(hostname="w1"), status=NodeStatus(state="ready"), agent=True)


def test_a_change_of_a_task_that_is_told_makes_no_entry():
    """For most changes of tasks nothing else is asked."""
    world = World()
    told = 0
    for before, after in product(product(TaskState, ("", "a", "b")), repeat=2):
        old, new = task(*before), task(*after)
        if is_silent(old, new):
            told += 1
            assert list(entries_of(Change(old, new), world.tables, 9.0)) == [], (before, after)
    assert told > 0
    assert is_silent(task(TaskState.STARTING), task(TaskState.RUNNING))


def task(state: TaskState, err: str = "", node: str = "n1") -> Task:
    status = TaskStatus(state=state, err=err)
    return Task(id="t", service_id="s1", service_name="shop_web", slot=3, node_id=node, status=status, updated_at=7.0)


def entries(old: object, new: object, by: str = "") -> list[Entry]:
    world = World()
    world.put(SERVICE, NODE)
    return list(entries_of(Change(old=old, new=new), world.tables, 9.0, by))  # type: ignore[arg-type]


def test_a_task_that_failed_says_where_and_why() -> None:
    (entry,) = entries(task(TaskState.RUNNING), task(TaskState.FAILED, "exit code 1"))
    assert (entry.kind, entry.level, entry.at) == (Kind.TASK_FAILED, Level.ERROR, 7.0)
    assert entry.text == "shop_web.3 failed on w1: exit code 1"
    assert {each.kind: each.name for each in entry.related} == {"service": "shop_web", "stack": "shop", "node": "w1"}


def test_a_task_that_the_enforcer_stops_says_why() -> None:
    """The decider's own change of the store makes the entry, and the end that its worker reports no second one."""
    world = World()
    constrained = template("web:1", ("node.labels.zone==east",))
    old = replace(task(TaskState.RUNNING), desired_state=TaskState.RUNNING, spec=constrained)
    service = replace(SERVICE, spec=replace(SERVICE.spec, task_template=constrained))
    world.put(service, NODE, old)
    world.decide(enforce, "n1")
    stopped = world.tables.tasks.get("t")
    assert stopped is not None
    (entry,) = entries(old, stopped)
    assert (entry.kind, entry.level) == (Kind.TASK_STOPPED, Level.WARNING)
    assert entry.text == (
        "shop_web.3 is stopped on w1: assigned node no longer meets constraints: node.labels.zone==east"
    )
    assert {each.kind: each.name for each in entry.related} == {"service": "shop_web", "stack": "shop", "node": "w1"}
    assert entry.said_by == "n1", "what a node says of itself may have it stopped over and over"
    ended = replace(stopped, status=replace(stopped.status, state=TaskState.SHUTDOWN))
    assert entries(stopped, ended) == []
    assert entries(old, replace(old, desired_state=TaskState.SHUTDOWN)) == [], "an update, say, which has its own"


def test_a_task_says_once_that_it_finds_no_node() -> None:
    waiting = task(TaskState.PENDING, "no suitable node", node="")
    (entry,) = entries(task(TaskState.PENDING, node=""), waiting)
    assert (entry.kind, entry.text) == (Kind.TASK_WAITS, "shop_web.3 waits: no suitable node")
    assert entries(waiting, replace(waiting, updated_at=8.0)) == []


def test_a_task_that_merely_goes_on_is_no_entry() -> None:
    assert entries(task(TaskState.ASSIGNED), task(TaskState.RUNNING)) == []
    assert entries(task(TaskState.RUNNING), None) == []


def test_a_service_is_created_and_removed_by_somebody() -> None:
    (created,) = entries(None, SERVICE, "ann")
    assert (created.kind, created.by, created.object.name) == (Kind.SERVICE_CREATED, "ann", "shop_web")
    removed = entries(SERVICE, None)[-1]
    assert (removed.kind, removed.at) == (Kind.SERVICE_REMOVED, 9.0)


def test_what_belongs_to_a_stack_concerns_it() -> None:
    """`timeline shop` tells of its networks, secrets and configs, too."""
    labels = {STACK_LABEL: "shop"}
    secret = Secret(id="x1", spec=SecretSpec(name="shop_key", data=b"hunter2", labels=labels))
    config = Config(id="c1", spec=ConfigSpec(name="shop_conf", data=b"x", labels=labels))
    network = Network(id="m1", spec=NetworkSpec(name="shop_default", labels=labels))
    for value in (SERVICE, secret, config, network):
        for change in ((None, value), (value, None)):
            (entry,) = entries(*change)
            assert entry.concerns("shop"), entry.text
    (alone,) = entries(None, replace(secret, spec=SecretSpec(name="key", data=b"hunter2")))
    assert alone.related == ()


def test_a_changed_service_says_what_differs() -> None:
    changed = replace(SERVICE, spec=replace(SERVICE.spec, task_template=template("web:2")), updated_at=6.0)
    found = entries(SERVICE, changed, "ann")
    assert any("image web:1 → web:2" in each.text and each.by == "ann" for each in found)


def test_a_node_that_goes_down_is_an_entry() -> None:
    (entry,) = entries(NODE, replace(NODE, status=NodeStatus(state="down", message="no sign of life")))
    assert entry.kind is Kind.NODE_STATE
    assert "no sign of life" in entry.text


def test_a_node_whose_worker_leaves_has_left() -> None:
    there = replace(NODE, status=NodeStatus(state="ready"), agent=True, certificate_serials=("1",))
    gone = replace(there, status=NodeStatus(state="down", message=LEFT), certificate_serials=())
    (entry,) = entries(there, gone)
    assert (entry.kind, entry.text, entry.level) == (Kind.NODE_LEFT, "w1 left the cluster", Level.INFO)


def test_a_clock_that_is_off_has_two_entries() -> None:
    """When it begins and when it ends; not when it drifts on, and not when its worker leaves."""
    there = replace(NODE, status=NodeStatus(state="ready"), agent=True, certificate_serials=("1",))
    off = replace(there, clock_offset=ClockOffset(seconds=-720, since=1.0))
    (began,) = entries(there, off)
    assert (began.kind, began.level) == (Kind.NODE_CLOCK, Level.WARNING)
    assert began.text == "the clock of w1 is 12 minutes behind the manager's"
    assert began.said_by == NODE.id
    assert entries(off, replace(off, clock_offset=ClockOffset(seconds=-900, since=1.0))) == []
    (ended,) = entries(off, there)
    assert (ended.text, ended.level) == ("the clock of w1 agrees with the manager's again", Level.GOOD)
    gone = replace(there, status=NodeStatus(state="down", message=LEFT), certificate_serials=())
    assert [each.kind for each in entries(off, gone)] == [Kind.NODE_LEFT]


def test_a_manager_goes_on_when_its_worker_leaves() -> None:
    manages = replace(NODE, status=NodeStatus(state="ready"), manager_status=ManagerStatus(), agent=True)
    (entry,) = entries(replace(manages, certificate_serials=("1",)), replace(manages, agent=False))
    assert (entry.kind, entry.text) == (Kind.NODE_LEFT, "the worker of w1 left")


AWAITED = replace(NODE, status=NodeStatus(state="unknown"), joining=Joining())


def test_a_node_has_joined_when_its_first_session_begins() -> None:
    assert entries(None, AWAITED) == []
    (entry,) = entries(AWAITED, NODE)
    assert (entry.kind, entry.text, entry.level) == (Kind.NODE_JOINED, "w1 joined the cluster", Level.GOOD)


def test_a_join_that_was_taken_back_is_no_entry() -> None:
    """The host was refused, by its engine's Docker Swarm for one: it never was a node of the cluster."""
    assert entries(AWAITED, None) == []
    (removed,) = entries(AWAITED, None, "ann")
    assert (removed.kind, removed.by) == (Kind.NODE_REMOVED, "ann")
    (left,) = entries(NODE, None)
    assert left.kind is Kind.NODE_REMOVED


def test_a_managers_own_node_joins_once() -> None:
    alone = replace(NODE, agent=False)
    assert [each.kind for each in entries(None, alone)] == [Kind.NODE_JOINED]
    joining = replace(alone, joining=Joining())
    assert entries(alone, joining) == []
    assert entries(joining, NODE) == []


def test_inner_bookkeeping_is_no_entry() -> None:
    assert entries(None, VolumeClaim(id="c")) == []


def test_names_are_those_that_people_know() -> None:
    world = World()
    world.put(NODE)
    assert node_name(world.tables, "n1") == "w1"
    assert node_name(world.tables, "gone") == "gone"
    assert task_name(world.tables, task(TaskState.NEW)) == "shop_web.3"
    assert task_name(world.tables, replace(task(TaskState.NEW), slot=0)) == "shop_web.w1"


BASE = ServiceSpec(
    name="web",
    mode=ServiceMode(replicated=Replicated(replicas=2)),
    task_template=TaskSpec(container_spec=ContainerSpec(image="web:1", env=("A=1", "SECRET=hunter2"))),
)


def container(**changes: object) -> ServiceSpec:
    template = BASE.task_template
    made = replace(template.container_spec or ContainerSpec(), **changes)
    return replace(BASE, task_template=replace(template, container_spec=made))


def words(new: ServiceSpec, old: ServiceSpec = BASE) -> list[str]:
    return list(spec_changes(old, new))


def test_equal_specifications_differ_in_nothing() -> None:
    assert words(BASE) == []


def test_images_and_replicas_are_told_by_value() -> None:
    assert words(container(image="web:2")) == ["image web:1 → web:2"]
    assert words(replace(BASE, mode=ServiceMode(replicated=Replicated(replicas=5)))) == ["replicas 2 → 5"]


def test_another_digest_of_one_name_is_other_content() -> None:
    digests = ["sha256:" + letter * 64 for letter in "ab"]
    old, new = (container(image=f"web:1@{digest}") for digest in digests)
    assert words(new, old) == ["image web:1, of other content"]


def test_of_environment_variables_only_names_are_told() -> None:
    found = words(container(env=("A=1", "SECRET=other", "NEW=x")))
    assert found == ["environment: NEW, SECRET"]


def test_of_many_names_six_are_told() -> None:
    found = words(container(labels={f"l{number}": "" for number in range(9)}))
    assert found == ["container labels: l0, l1, l2, l3, l4, l5 and 3 more"]


def test_ports_are_told_before_and_after() -> None:
    ports = EndpointSpec(ports=(PortConfig(target_port=80, published_port=8080), PortConfig(target_port=81)))
    assert words(replace(BASE, endpoint_spec=ports)) == ["ports none → 8080:80/tcp, *:81/tcp"]


def test_resources_are_told_in_units_that_people_read() -> None:
    limits = Resources(limits=Limits(nano_cpus=500_000_000, memory_bytes=64 << 20))
    changed = replace(BASE, task_template=replace(BASE.task_template, resources=limits))
    cpu, memory = words(changed)
    assert cpu == "CPU limit 0 → 0.5"
    assert memory.startswith("memory limit 0")
    assert memory.endswith("64MiB")


def test_all_else_is_named_by_its_field() -> None:
    (found,) = words(container(stop_signal="SIGINT", tty=True))
    assert sorted(found.split(", ")) == ["stop signal", "tty"]


def test_force_replaces_tasks() -> None:
    forced = replace(BASE, task_template=replace(BASE.task_template, force_update=1))
    assert words(forced) == ["its tasks are to be replaced"]
