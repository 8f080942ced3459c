"""The page that Prometheus reads: its names, its samples, and that promtool finds nothing to say about it."""

import asyncio
import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.model import Node, Service, Task, TaskState, TaskStatus
from common.model.node import ManagerStatus, NodeDescription, NodeResources, NodeSpec, NodeStatus
from common.model.service import (
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from common.model.update import UpdateState, UpdateStatus
from common.wire.usage_messages import HostUsage
from manager.metrics.contacts import Contact
from manager.metrics.facts import Facts, Validity, Vitals, gather
from manager.metrics.families import Page, Pages, make_page
from manager.metrics.instruments import Instruments
from manager.overview.counters import Counters
from manager.overview.usage import NOT_MEASURED, HostSample
from manager.store.changes import Change
from manager.store.tables import Tables
from manager.store.transaction import Transaction

# What Docker calls like counters, though their numbers fall, too.
DOCKERS = tuple(f"swarm_manager_{kind}_total" for kind in ("configs", "networks", "secrets", "services", "tasks"))
HOST = HostUsage(
    cpu=0.25,
    memory_total=8 << 30,
    memory_available=2 << 30,
    disk_total=100,
    disk_available=7,
    received=11,
    sent=12,
    pressure_cpu=0.5,
    pressure_memory=0.0,
    pressure_io=0.125,
)
HOSTS = {"w" * 25: HostSample(100.0, HOST)}


def replicated(count: int) -> ServiceMode:
    return ServiceMode(replicated=Replicated(replicas=count))


def a_cluster() -> tuple[Counters, Tables]:
    """A manager's node, a worker that is down, a service short of a task, a job; its last task failed just now."""
    tables = Tables()
    tx = Transaction(tables, 100.0)
    resources = NodeResources(nano_cpus=4_000_000_000, memory_bytes=8 << 30)
    tx.put(Node(id="m" * 25, spec=NodeSpec(name="m1", role="manager"), manager_status=ManagerStatus(leader=True)))
    description = NodeDescription(hostname="w1", resources=resources, agent_version="1.2")
    tx.put(Node(id="w" * 25, description=description, status=NodeStatus(state="down"), agent=True))
    labels = {"com.docker.stack.namespace": 'sh"op'}
    reserved = Resources(reservations=Reservations(nano_cpus=500_000_000, memory_bytes=1 << 20))
    spec = ServiceSpec(name="web", labels=labels, mode=replicated(2), task_template=TaskSpec(resources=reserved))
    updating = UpdateStatus(state=UpdateState.PAUSED, started_at=90.0)
    tx.put(Service(id="s1", spec=spec, update_status=updating))
    tx.put(Service(id="s2", spec=ServiceSpec(name="job", mode=ServiceMode(replicated_job=ReplicatedJob()))))
    for number, (service, state) in enumerate([("s1", TaskState.RUNNING), ("s2", TaskState.COMPLETE)]):
        status = TaskStatus(state=state)
        task = Task(id=f"t{number}", service_id=service, slot=1, status=status, desired_state=TaskState.RUNNING)
        tx.put(task)
    tx.merge()
    counters = Counters(tables)
    counters.begin([*tables.nodes, *tables.services, *tables.tasks])
    failed = Task(
        id="t9",
        service_id="s1",
        slot=2,
        status=TaskStatus(state=TaskState.FAILED),
        desired_state=TaskState.RUNNING,
        updated_at=101.0,
    )
    counters.apply(Change(old=None, new=failed), 101.0)
    return counters, tables


def used(service_id: str) -> tuple[float | None, ...]:
    """What the tasks of the one service that is measured use."""
    return (1.5, 3e6, 2.0) if service_id == "s1" else NOT_MEASURED


def page() -> Page:
    counters, tables = a_cluster()
    instruments = Instruments()
    instruments.task_ran(0.3)
    instruments.assigned(0.02)
    instruments.decided("services", 0.001)
    instruments.decide_failed("services")
    instruments.relayed(4096)
    instruments.answered("GET", "/services/{id}", "200", 0.01)
    instruments.fell_behind("overview")
    instruments.streams("events", 2)
    vitals = Vitals({"root": Validity(20.0, 200.0), "manager": Validity(10.0, 150.0)}, 4096, 50.0)
    contacts = {"w" * 25: Contact(41.5, 3, -720.5)}
    facts = asyncio.run(gather(counters, tables, HOSTS, used, "1.2", leads=True, contacts=contacts))
    return make_page(facts, instruments, lambda: vitals)


@pytest.fixture(scope="module")
def made() -> Page:
    return page()


def samples(made: Page) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(made.text.decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(made: Page, name: str, **labels: str) -> float:
    (found,) = [number for each, having, number in samples(made) if each == name and having == labels]
    return found


def test_a_page_has_the_clusters_numbers(made: Page):
    assert value(made, "swarm_manager_leader") == 1
    assert value(made, "swarm_manager_nodes", state="down") == 1
    assert value(made, "swarm_manager_tasks_total", state="running") == 1
    assert value(made, "swarm_manager_services_total") == 2
    web = {"service": "web", "stack": 'sh"op'}
    assert value(made, "swarm_service_tasks_desired", **web) == 2
    assert value(made, "swarm_service_tasks_running", **web) == 1
    assert value(made, "swarm_service_task_failures_total", **web) == 1
    assert value(made, "swarm_service_update_state", **web, state="paused") == 1
    assert value(made, "swarm_job_last_success_timestamp_seconds", service="job", stack="") == 100.0
    assert value(made, "swarm_node_state", node="w1", state="down", availability="active") == 1
    assert value(made, "swarm_node_memory_total_bytes", node="w1") == 8 << 30
    assert value(made, "swarm_node_heartbeat_age_seconds", node="w1") == 41.5
    assert value(made, "swarm_node_clock_offset_seconds", node="w1") == -720.5
    assert value(made, "swarm_node_connects_total", node="w1") == 3
    assert value(made, "swarm_service_reserved_cpu_cores", **web) == 0.5
    assert value(made, "swarm_service_reserved_memory_bytes", **web) == 1 << 20
    measured = {
        labels["service"]: number for name, labels, number in samples(made) if name == "swarm_service_cpu_cores"
    }
    assert measured == {"web": 1.5}  # of the job nothing is known
    assert value(made, "swarm_service_memory_bytes", **web) == 3e6
    assert value(made, "swarm_node_cpu_usage_ratio", node="w1") == 0.25
    assert value(made, "swarm_node_disk_available_bytes", node="w1") == 7
    assert value(made, "swarm_node_pressure_ratio", node="w1", resource="io") == 0.125
    assert value(made, "swarm_node_network_bytes_total", node="w1", way="out") == 12
    assert value(made, "swarm_certificate_not_before_timestamp_seconds", of="manager") == 10.0
    assert value(made, "swarm_certificate_not_after_timestamp_seconds", of="root") == 200.0
    assert value(made, "swarm_dispatcher_scheduling_delay_seconds_count") == 1
    assert value(made, "swarm_image_bytes_total") == 4096
    assert value(made, "swarm_api_requests_total", method="GET", route="/services/{id}", code="200") == 1


async def test_a_manager_that_does_not_lead_speaks_of_itself_alone():
    """Where all managers are read, each number of the cluster is there once."""
    counters, tables = a_cluster()
    vitals = Vitals({"manager": Validity(10.0, 150.0)}, 4096)
    made = make_page(await gather(counters, tables, HOSTS, used, "1.2", leads=False), Instruments(), lambda: vitals)
    assert value(made, "swarm_manager_leader") == 0
    assert value(made, "swarm_certificate_not_after_timestamp_seconds", of="manager") == 150.0
    names = {name for name, _, _ in samples(made)}
    assert not [name for name in names if name.startswith(("swarm_service_", "swarm_node_", "swarm_manager_nodes"))]


def test_no_label_is_a_tasks_or_a_containers(made: Page):
    names = {label for _, labels, _ in samples(made) for label in labels}
    assert names <= {
        *(
            "availability",
            "cluster",
            "code",
            "hostname",
            "id",
            "kind",
            "le",
            "method",
            "node",
            "of",
            "resource",
            "role",
        ),
        *("route", "rule", "service", "stack", "state", "version", "watcher", "way"),
    }
    assert {name for name, labels, _ in samples(made) if "id" in labels} == {"swarm_node_info"}


def test_a_page_is_packed_whole(made: Page):
    assert gzip.decompress(made.packed) == made.text


async def test_what_is_on_a_node_that_is_down_does_not_run():
    counters, tables = a_cluster()
    running = TaskStatus(state=TaskState.RUNNING)
    task = Task(id="t8", service_id="s1", slot=2, node_id="w" * 25, status=running, desired_state=TaskState.RUNNING)
    counters.apply(Change(old=None, new=task), 102.0)
    facts = await gather(counters, tables, HOSTS, used, "1.2", leads=True)
    assert {node.name: node.running for node in facts.nodes} == {"m1": 0, "w1": 0}
    assert {service.name: service.running for service in facts.services} == {"web": 1, "job": 0}


def test_dockers_names_like_counters_have_no_type(made: Page):
    """They go down, too: as gauges promtool complains of them, and to call them counters would be wrong."""
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", made.text.decode(), re.MULTILINE))
    assert {types[name] for name in DOCKERS} == {"untyped"}
    assert {name for name, kind in types.items() if name.endswith("_total") and kind != "counter"} == set(DOCKERS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's prometheus)")
def test_promtool_has_nothing_to_say(made: Page):
    checked = subprocess.run(["promtool", "check", "metrics"], input=made.text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout.decode(), checked.stderr.decode()) == (0, "", "")


async def test_all_who_ask_within_a_second_get_one_page():
    counters, tables = a_cluster()
    gathered: list[Facts] = []

    async def take() -> Facts:
        gathered.append(await gather(counters, tables, HOSTS, used, "1.2", leads=True))
        return gathered[-1]

    pages = Pages(take, Instruments(), Vitals)
    first = await asyncio.gather(*(pages.take() for _ in range(5)))
    assert {id(each) for each in first} == {id(first[0])}
    assert len(gathered) == 1
