"""Tasks through the API, and what their JSON says beside their record: restarts that wait, what a job's is to do."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import to_the_second
from common.model import Task, TaskState, TaskStatus
from common.model.naming import Version
from common.model.service import EndpointSpec, Placement, PortConfig
from common.model.task import RestartRecord
from manager.api.render import JsonCache
from manager.api.services.tasks import task_view
from manager.cli import codec
from manager.cli.service.task_rows import back_off
from manager.store.tables import Tables
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, ApiCluster
from tests.fakes.volumes import mount, running, service, task
from tests.fakes.world import World, replace

NOON = 1_700_049_600.0


def waiting(streak: int, state: TaskState = TaskState.READY, desired: TaskState = TaskState.READY) -> Task:
    record = RestartRecord(attempts=streak, streak=streak, not_before=NOON)
    return Task(id="t", slot=1, desired_state=desired, status=TaskStatus(state=state), restart=record)


def shown(task: Task) -> dict[str, object]:
    view = task_view(task, Tables(), JsonCache())
    assert isinstance(view["Status"], dict)
    return view


@pytest.mark.parametrize(
    ("streak", "err", "left"),
    [
        (0, "starts again at 2023-11-15T12:00:00Z", "starts again in 40 s"),
        (1, "next try at 2023-11-15T12:00:00Z (attempt 2)", "next try in 40 s (attempt 2)"),
        (
            4,
            "crash loop, 4 failures in a row: next try at 2023-11-15T12:00:00Z (attempt 5)",
            "crash loop: next try in 40 s (attempt 5)",
        ),
    ],
)
def test_a_waiting_restart_says_until_when_and_its_number(streak: int, err: str, left: str) -> None:
    view = shown(waiting(streak))
    assert view["Status"]["Err"] == err  # type: ignore[index]
    task = codec.task({**view, "Spec": {}})
    assert back_off(task, NOON - 40) == left
    assert back_off(task, NOON + 1) == ""


@pytest.mark.parametrize(
    "task",
    [waiting(4, desired=TaskState.RUNNING), waiting(4, TaskState.FAILED), Task(id="t", desired_state=TaskState.READY)],
)
def test_what_does_not_wait_says_nothing(task: Task) -> None:
    view = shown(task)
    assert "Restart" not in view
    assert "Err" not in view["Status"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("state", "desired", "name"),
    [
        (TaskState.RUNNING, TaskState.RUNNING, "complete"),
        (TaskState.COMPLETE, TaskState.SHUTDOWN, "complete"),
        (TaskState.FAILED, TaskState.SHUTDOWN, "shutdown"),
        (TaskState.COMPLETE, TaskState.REMOVE, "remove"),
        (TaskState.READY, TaskState.READY, "ready"),
    ],
)
def test_a_jobs_task_is_to_complete(state: TaskState, desired: TaskState, name: str) -> None:
    task = Task(id="t", job_iteration=Version(), desired_state=desired, status=TaskStatus(state=state))
    assert shown(task)["DesiredState"] == name


@pytest.mark.usefixtures("tasks")
async def test_task_as_the_engine_shows_it(client: Client) -> None:
    task = await client.get(f"/tasks/{'0' * 25}")
    assert task["Spec"]["ContainerSpec"] == {"Image": "busybox", "Isolation": "default"}
    assert (task["Slot"], task["NodeID"], task["DesiredState"]) == (1, WORKER1, "running")
    assert task["Status"] == {
        "Timestamp": "2023-11-14T22:13:20.500000Z",
        "State": "running",
        "Message": "m",
        "ContainerStatus": {"ContainerID": "c", "PID": 3, "ExitCode": 0},
        "PortStatus": {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}]},
    }
    ingress, host = task["NetworksAttachments"]
    assert ingress["Addresses"] == ["10.240.1.9/12"], "where the mesh reaches it"
    assert ingress["Network"]["Spec"] == {
        "Name": "ingress",
        "Labels": {},
        "DriverConfiguration": {"Name": "overlay"},
        "Scope": "swarm",
        "Ingress": True,
    }
    assert ingress["Network"]["IPAMOptions"]["Configs"] == [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}]
    assert host["Network"]["Spec"]["Name"] == "host"
    pending = await client.get(f"/tasks/{'2' * 25}")
    assert "NodeID" not in pending
    assert "ContainerStatus" not in pending["Status"]
    assert pending["Status"]["PortStatus"] == {}
    (member,) = (await client.get("/networks/ingress"))["Containers"].values()
    assert (member["IPv4Address"], member["Name"][:5]) == ("10.240.1.9/12", "web.1")


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize(
    ("filters", "slots"),
    [
        ("{}", [1, 2, 3]),
        ('{"service":["web"]}', [1, 2, 3]),
        ('{"service":{"sss":true}}', [1, 2, 3]),
        ('{"node":["w1"]}', [1]),
        ('{"service":["web"],"node":["w2"]}', [2]),
        ('{"desired-state":["running"]}', [1, 3]),
        ('{"desired-state":["running","shutdown"]}', [1, 2, 3]),
        ('{"id":["11"]}', [2]),
        ('{"name":["web.3"]}', [3]),
        ('{"name":["db"]}', []),
        ('{"label":["app=x"]}', [1, 2, 3]),
        ('{"label":["app=y"]}', []),
        ('{"_up-to-date":["true"]}', [1, 3]),
        ('{"_up-to-date":["false"]}', [1, 3]),  # as an engine, which does not look at the value
        ('{"runtime":["container"]}', [1, 2, 3]),
    ],
)
async def test_task_filters(client: Client, filters: str, slots: list[int]) -> None:
    assert sorted(task["Slot"] for task in await client.get(f"/tasks?filters={filters}")) == slots


@pytest.mark.usefixtures("tasks")
async def test_a_task_that_a_change_of_placement_leaves_is_up_to_date(client: Client, cluster: ApiCluster) -> None:
    """One with published ports, too: a client that waits for the update would wait for ever."""
    port = PortConfig(target_port=80, published_port=8080)

    def publish(tx: Transaction) -> None:
        service, task = tx.services.get("s" * 25), tx.tasks.get("0" * 25)
        assert service is not None
        assert task is not None
        template = msgspec.structs.replace(
            service.spec.task_template, placement=Placement(constraints=("node.role!=x",)), networks=()
        )
        spec = msgspec.structs.replace(service.spec, task_template=template, endpoint_spec=EndpointSpec(ports=(port,)))
        tx.put(msgspec.structs.replace(service, spec=spec, spec_version=9))
        tx.put(msgspec.structs.replace(task, spec=msgspec.structs.replace(task.spec, networks=()), ports=(port,)))

    await cluster.store.update(publish)
    (task,) = await client.get('/tasks?filters={"_up-to-date":["true"]}')
    assert task["Slot"] == 1


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ('/tasks?filters={"desired-state":["x"]}', 400, "Invalid desired-state filter: 'x'"),
        ('/tasks?filters={"service":["x"]}', 404, "service x not found"),
        ('/tasks?filters={"node":["x"]}', 404, "node x not found"),
        ("/tasks/x", 404, "task x not found"),
        ("/tasks/x/logs?stdout=1", 404, "task x not found"),
        ("/services/x/logs?stdout=1", 404, "service x not found"),
        ("/services/x/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("/services/x/logs?stdout=1&tail=z", 400, 'tail value must be a positive integer or "all"'),
        ("/services/x/logs?stdout=1&since=z", 400, "could not parse since timestamp: 'z'"),
    ],
)
async def test_bad_task_requests(client: Client, path: str, status: int, words: str) -> None:
    answered, message = await client.error("GET", path)
    assert message.startswith(words)
    assert answered == status


def test_a_placed_task_names_its_volumes() -> None:
    """As Docker's clients read those of a task: the copy on its node, what it is called, and where it is mounted."""
    db = service("db", "data", mount("files", "slot"), mount("cached", snapshot="pause"))
    found = shown(running(db, "n", slot=2))
    assert found["Volumes"] == [
        {"ID": "n/data", "Source": "data", "Target": "/data"},
        {"ID": "n/files.2", "Source": "files.2", "Target": "/files"},
    ]
    assert shown(task(db))["Volumes"] is None
    assert shown(running(service("web"), "n"))["Volumes"] is None


def test_a_task_on_a_node_that_is_down_says_so() -> None:
    """What it last said, `running`, may be true no more: docker's own clients show the error beside it."""
    world = World()
    world.nodes("n1")
    world.node("n1", state="down")
    web = replace(running(service("web"), "n1"), status=TaskStatus(state=TaskState.RUNNING))
    said = task_view(web, world.tables, JsonCache())["Status"]
    node = world.tables.nodes.get("n1")
    assert node is not None
    since = to_the_second(node.updated_at)
    assert said["State"] == "running"
    assert said["Err"] == f"node n1 is down since {since}: not known whether it runs"
    ended = replace(web, status=TaskStatus(state=TaskState.COMPLETE))
    assert "Err" not in task_view(ended, world.tables, JsonCache())["Status"]
    world.node("n1", state="ready")
    assert "Err" not in task_view(web, world.tables, JsonCache())["Status"]
