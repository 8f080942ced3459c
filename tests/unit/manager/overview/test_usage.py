"""Rings of an hour, and who is measured for how long."""

from common.model import Cluster, Node, Service, Task
from common.model.cluster import ClusterSpec
from common.wire.usage_messages import HostUsage, TaskUsage
from manager.overview.usage import HOST_COLUMNS, NOT_MEASURED, SERVICE_COLUMNS, STEP_SECONDS, STEPS, Ring, Usages
from manager.store.tables import Tables
from manager.store.transaction import Transaction


def a_view() -> Tables:
    tables = Tables()
    tx = Transaction(tables, 1.0)
    tx.put(Node(id="n"))
    tx.put(Service(id="s"))
    for task_id in ("a", "b"):
        tx.put(Task(id=task_id, service_id="s", node_id="n", slot=1))
    tx.merge()
    return tables


def test_a_ring_has_the_last_hour_and_its_gaps():
    ring = Ring(1)
    assert ring.columns(0.0) == [[None] * STEPS]
    for step in (0, 1, 3):
        ring.put(step * STEP_SECONDS + 2.5, [float(step)])
    (column,) = ring.columns(3 * STEP_SECONDS)
    assert column[-4:] == [0.0, 1.0, None, 3.0]
    (later,) = ring.columns((STEPS + 1) * STEP_SECONDS)
    assert [value for value in later if value is not None] == [3.0]
    ring.put((STEPS + 3) * STEP_SECONDS, [9.0])
    (column,) = ring.columns((STEPS + 3) * STEP_SECONDS)
    assert [value for value in column if value is not None] == [9.0]
    ring.put(STEP_SECONDS, [7.0])  # an instant that has passed
    assert ring.columns((STEPS + 3) * STEP_SECONDS) == [column]


def test_a_hosts_network_is_a_rate():
    usages = Usages(a_view())
    usages.record_host("n", HostUsage(received=1000, sent=10, memory_total=8, memory_available=2), 100.0)
    usages.record_host("n", HostUsage(received=3000, sent=5, memory_total=8, memory_available=2), 110.0)
    sample = usages.host("n", 111.0)
    assert sample is not None
    assert (sample.received, sample.sent) == (200.0, None)
    columns = usages.host_columns("n", 111.0)
    assert tuple(columns) == HOST_COLUMNS
    assert columns["Memory"][-2:] == [6.0, 6.0]
    assert usages.host("n", 200.0) is None
    assert list(usages.news) == ["n"]


def test_what_a_node_says_of_others_tasks_does_not_count():
    usages = Usages(a_view())
    usages.record_tasks("other", [TaskUsage(task_id="a", cpu=9.0)], 100.0)
    assert usages.tasks("s", 100.0) == {}
    usages.record_tasks("n", [TaskUsage(task_id="a", cpu=0.5, memory=100.0), TaskUsage(task_id="b", cpu=0.25)], 100.0)
    assert usages.tasks("s", 100.0)["a"].cpu == 0.5
    columns = usages.service_columns("s", 100.0)
    assert tuple(columns) == SERVICE_COLUMNS
    assert [column[-1] for column in columns.values()] == [0.75, 100.0, 2.0]
    assert usages.tasks("s", 131.0) == {}


def test_all_tasks_of_a_service_are_summed_up():
    usages = Usages(a_view())
    assert usages.service("s", 100.0) == NOT_MEASURED
    usages.record_tasks("n", [TaskUsage(task_id="a", cpu=0.5, memory=100.0)], 100.0)
    assert usages.service("s", 100.0) == (0.5, 100.0, 1.0)
    usages.record_tasks("n", [TaskUsage(task_id="b", cpu=0.25, memory=10.0)], 100.0)
    assert [column[-1] for column in usages.service_columns("s", 100.0).values()] == [0.75, 110.0, 2.0]
    usages.record_tasks("n", [TaskUsage(task_id="a", cpu=0.75)], 105.0)
    usages.record_tasks("n", [TaskUsage(task_id="b", cpu=0.5)], 111.0)  # the step before has ended
    assert usages.service("s", 112.0) == (1.0, 10.0, 2.0)
    assert [column[-2:] for column in usages.service_columns("s", 112.0).values()] == [
        [1.0, 1.25],
        [10.0, None],
        [2, 2],
    ]
    assert usages.service("s", 142.0) == NOT_MEASURED


def test_all_services_are_measured_where_the_cluster_says_so():
    tables = a_view()
    usages = Usages(tables)
    for said, measured in (("services", {"s"}), ("asked", set[str]())):
        tx = Transaction(tables, 2.0)
        tx.put(Cluster(id="c", spec=ClusterSpec(labels={"swarm.x.usage": said})))
        tx.merge()
        assert usages.asked(100.0) == measured


def test_a_service_is_asked_for_until_nobody_asks():
    usages = Usages(a_view())
    told: list[bool] = []
    usages.on_asked = lambda: told.append(True)
    usages.ask("s", 100.0)
    usages.ask("s", 120.0)
    assert told == [True]
    assert usages.asked(150.0) == {"s"}
    assert usages.asked(150.1) == frozenset()
