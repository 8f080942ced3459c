"""What the overview's routes answer: `docs/api.md` has their shapes."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from common.model import Task, TaskState, TaskStatus
from common.model.client import Role
from common.model.service import Replicated, ServiceMode
from manager.api.access.roles import Caller
from manager.api.call import Call, Stream
from manager.overview.entries import entries_of
from manager.overview.timeline import Entry
from manager.schedule.load import ClusterLoad
from manager.store.changes import Change
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.loop_turns import turns

VIEWER = Caller("vera", "10.1.1.1:1", Role.VIEWER, environment=False)
SPEC: dict[str, Any] = {
    "Name": "shop_api",
    "Labels": {"com.docker.stack.namespace": "shop"},
    "TaskTemplate": {"ContainerSpec": {"Image": "api:41", "Env": ["PASSWORD=secret"]}},
    "Mode": {"Replicated": {"Replicas": 2}},
}
WEB = "s" * 25


async def heard(cluster: ApiCluster) -> None:
    """Let the observer take in what has been stored."""
    observer = cluster.api.context.overview
    await observer.ready()
    for _ in range(3):
        await asyncio.sleep(0)


async def set_state(cluster: ApiCluster, task_id: str, state: TaskState, err: str = "") -> None:
    def change(tx: Transaction) -> None:
        task = tx.tasks.get(task_id)
        assert task is not None
        tx.put(msgspec.structs.replace(task, status=TaskStatus(state=state, err=err)))

    await cluster.store.update(change)
    await heard(cluster)


async def test_an_empty_cluster_says_so(client: Client):
    found = await client.get("/swarm/overview")
    assert (found["Level"], found["Sentence"]) == ("empty", "No services yet · 3 of 3 nodes ready")
    assert found["Totals"]["Nodes"] == {"ready": 3}


async def test_a_bug_with_one_change_keeps_no_other_out(
    cluster: ApiCluster, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def entries(change: Change, *others: Any) -> Iterator[Entry]:
        if change.current.id == WORKER1:
            raise RuntimeError("a bug")
        return entries_of(change, *others)

    await heard(cluster)
    monkeypatch.setattr("manager.api.overview.observer.entries_of", entries)

    def drain(tx: Transaction) -> None:
        for node in [tx.nodes.get(WORKER1), tx.nodes.get(WORKER2)]:
            assert node is not None
            tx.put(msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, availability="drain")))

    await cluster.store.update(drain)
    await heard(cluster)
    found = (await client.get("/swarm/timeline?topic=nodes"))["Entries"]
    changes = [entry["Text"] for entry in found if entry["Kind"] == "node-changed"]
    assert changes == ["w2 was changed: availability active → drain"]
    assert "the overview is not right about" in caplog.text
    caplog.clear()


@pytest.mark.usefixtures("tasks")
async def test_trouble_comes_first_and_in_words(cluster: ApiCluster, client: Client):
    def want_three(tx: Transaction) -> None:
        service = tx.services.get(WEB)
        assert service is not None
        mode = ServiceMode(replicated=Replicated(replicas=3))
        tx.put(msgspec.structs.replace(service, spec=msgspec.structs.replace(service.spec, mode=mode)))

    await cluster.store.update(want_three)
    await set_state(cluster, "2" * 25, TaskState.PENDING, "no suitable node (2 nodes not available for new tasks)")
    found = await client.get("/swarm/overview")
    assert found["Level"] == "trouble"
    assert found["Sentence"] == "1 thing needs attention · 0 of 1 service as wanted · 3 of 3 nodes ready"
    (trouble,) = found["Trouble"]
    assert trouble["Kind"] == "tasks-wait"
    assert trouble["Object"] == {"Kind": "service", "ID": WEB, "Name": "web"}
    assert trouble["Text"].startswith("web 1/3: 1 task without a node: no suitable node (2 nodes")


@pytest.mark.usefixtures("tasks")
async def test_a_tile_counts_a_nodes_tasks_and_failures(cluster: ApiCluster, client: Client):
    await heard(cluster)
    tiles = {each["Name"]: each for each in (await client.get("/swarm/overview/nodes"))["Nodes"]}
    assert tiles["w1"]["Tasks"] == {"running": 1}
    assert tiles["w2"]["Tasks"] == {"failed": 1}
    assert tiles["w2"]["Failures"] == 1
    assert (tiles["w1"]["Cores"], tiles["w1"]["Memory"]) == (2.0, 4 << 30)


@pytest.mark.usefixtures("tasks")
async def test_a_slot_has_one_box(cluster: ApiCluster, client: Client):
    await heard(cluster)
    found = await client.get("/swarm/overview/tasks?node=w1,w2&waiting=1")
    assert found["Columns"] == ["ID", "ServiceID", "Slot", "NodeID", "Mark", "Since", "Error"]
    assert [(box[2], box[3], box[4], box[6]) for box in found["Boxes"]] == [
        (1, WORKER1[:12], "running", ""),
        (2, WORKER2[:12], "failed", "e"),
        (3, "", "waiting", ""),
    ]
    assert found["Services"] == {WEB[:12]: "web"}
    by_service = await client.get("/swarm/overview/tasks?service=web")
    assert {box[2] for box in by_service["Boxes"]} == {1, 2, 3}


@pytest.mark.usefixtures("tasks")
async def test_many_boxes_leave_others_their_turn(cluster: ApiCluster, client: Client):
    def add(tx: Transaction) -> None:
        some = tx.tasks.get("0" * 25)
        assert some is not None
        for slot in range(1000, 2000):
            tx.put(msgspec.structs.replace(some, id=f"{slot:025}", slot=slot))

    await cluster.store.update(add)
    await heard(cluster)
    while len(cluster.api.context.overview.counters.services[WEB].newest) < 1003:
        await asyncio.sleep(0)
    async with turns() as made:
        found = await client.get("/swarm/overview/tasks?service=web")
        let_others_have = made()
    assert len(found["Boxes"]) == 1003
    assert let_others_have >= 5


@pytest.mark.usefixtures("tasks")
async def test_rows_have_short_ids_that_every_route_takes(cluster: ApiCluster, client: Client):
    await heard(cluster)
    tile = next(each for each in (await client.get("/swarm/overview/nodes"))["Nodes"] if each["Name"] == "w1")
    (row,) = (await client.get("/swarm/overview/services"))["Services"]
    assert (tile["ID"], row["ID"]) == (WORKER1[:12], WEB[:12])
    assert (await client.get(f"/nodes/{tile['ID']}"))["ID"] == WORKER1
    assert (await client.get(f"/services/{row['ID']}"))["ID"] == WEB
    boxes = (await client.get(f"/swarm/overview/tasks?node={tile['ID']}"))["Boxes"]
    assert [box[:4] for box in boxes] == [["0" * 25, row["ID"], 1, tile["ID"]]]
    reader = Reader(cluster, f"/swarm/overview/feed?topics=nodes,services,node:{tile['ID']},service:{row['ID']}")
    async with asyncio.TaskGroup() as group:
        following = group.create_task(reader.run())
        await reader.take(named("hello"))
        await set_state(cluster, "0" * 25, TaskState.FAILED, "exit 1")
        _, tiles = await reader.take(named("nodes"))
        assert tile["ID"] in [each["ID"] for each in tiles["Changed"]]
        _, ours = await reader.take(named(f"node:{WORKER1}"))
        assert (ours["Row"]["ID"], ours["Changed"][0][:4]) == (tile["ID"], boxes[0][:4])
        node = cluster.store.view.nodes.get(WORKER1)
        assert node is not None
        await cluster.store.update(lambda tx: tx.remove(node))
        _, tiles = await reader.take(lambda event, data: event == "nodes" and "Removed" in data)
        assert tiles["Removed"] == [tile["ID"]]
        following.cancel()


async def test_services_come_by_the_page_the_worst_first(cluster: ApiCluster, client: Client):
    for name in ("a", "b", "c"):
        await client.make(
            "/services/create", {**SPEC, "Name": name, "Mode": {"Replicated": {"Replicas": int(name == "c")}}}
        )
    await heard(cluster)
    first = await client.get("/swarm/overview/services?limit=2")
    assert [(row["Name"], row["State"]) for row in first["Services"]] == [("c", "starting"), ("a", "well")]
    assert first["Total"] == 3
    rest = await client.get(f"/swarm/overview/services?limit=2&after={first['Next']}")
    assert [row["Name"] for row in rest["Services"]] == ["b"]
    assert "Next" not in rest
    assert [row["Name"] for row in (await client.get("/swarm/overview/services?q=C"))["Services"]] == ["c"]
    assert await client.error("GET", "/swarm/overview/services?state=fine") == (
        400,
        "state='fine': expected down, failed, short, halted, updating, starting, well, completed",
    )


async def test_the_timeline_says_who_changed_what(cluster: ApiCluster, client: Client):
    service = await client.make("/services/create", SPEC)
    version = await client.version(f"/services/{service}")
    changed = json.loads(json.dumps(SPEC))
    changed["TaskTemplate"]["ContainerSpec"].update(Image="api:42", Env=["PASSWORD=other", "LEVEL=debug"])
    await client.ask("POST", f"/services/{service}/update?version={version}", changed)
    await heard(cluster)
    found = (await client.get("/swarm/timeline?object=shop_api"))["Entries"]
    assert [(each["Kind"], each["By"]) for each in found] == [
        ("service-changed", "tester"),
        ("service-created", "tester"),
    ]
    assert found[0]["Text"] == "shop_api was changed: image api:41 → api:42; environment: LEVEL, PASSWORD"
    of_stack = (await client.get("/swarm/timeline?object=shop"))["Entries"]
    assert [each["ID"] for each in of_stack] == [each["ID"] for each in found]
    about_nodes = (await client.get("/swarm/timeline?topic=nodes"))["Entries"]
    assert {each["Kind"] for each in about_nodes} == {"node-joined"}


async def test_a_manager_that_is_started_tells_what_came_before(cluster: ApiCluster, client: Client):
    service = await client.make("/services/create", SPEC)
    changed = json.loads(json.dumps(SPEC))
    changed["TaskTemplate"]["ContainerSpec"].update(Image="api:42")
    version = await client.version(f"/services/{service}")
    await client.ask("POST", f"/services/{service}/update?version={version}", changed)
    key = await client.make("/secrets/create", {"Name": "key", "Data": "aA=="})
    assert await client.ask("DELETE", f"/secrets/{key}") == (204, None)
    await heard(cluster)
    told = [(each["Kind"], each["Text"], each.get("By")) for each in (await client.get("/swarm/timeline"))["Entries"]]
    async with cluster.another_api() as api:
        await api.context.overview.ready()
        found = (await Client(api).get("/swarm/timeline"))["Entries"]
    again = [(each["Kind"], each["Text"], each.get("By")) for each in found]
    assert ("service-changed", "shop_api was changed: image api:41 → api:42", "tester") in again
    assert set(told) <= set(again)
    assert again[0] == ("object-removed", "secret key was removed", "tester")


async def test_a_removed_stack_is_told_of_after_a_start(cluster: ApiCluster, client: Client):
    service = await client.make("/services/create", SPEC)
    labels = {"com.docker.stack.namespace": "shop"}
    key = await client.make("/secrets/create", {"Name": "shop_key", "Data": "aA==", "Labels": labels})
    for path in (f"/services/{service}", f"/secrets/{key}"):
        await client.ask("DELETE", path)
    async with cluster.another_api() as api:
        await api.context.overview.ready()
        found = (await Client(api).get("/swarm/timeline?object=shop"))["Entries"]
    assert [(each["Text"], each["By"]) for each in found] == [
        ("secret shop_key was removed", "tester"),
        ("shop_api was removed", "tester"),
        ("secret shop_key was created", "tester"),
        ("shop_api was created", "tester"),
    ]


async def test_a_node_says_when_it_was_heard(cluster: ApiCluster, client: Client):
    contacts, now = cluster.api.context.soft.contacts, asyncio.get_running_loop().time()
    contacts.begun(WORKER1, lambda: now - 5.0)
    found = await client.get("/nodes/w1/usage")
    assert 5.0 <= found["At"] - found["HeardAt"] < 6.0
    assert "HeardAt" not in await client.get("/nodes/w2/usage")


@pytest.mark.usefixtures("tasks")
async def test_a_service_says_what_failed_each_minute(cluster: ApiCluster, client: Client):
    await heard(cluster)
    before = sum((await client.get("/services/web/usage"))["Failures"])
    await set_state(cluster, "0" * 25, TaskState.FAILED, "task: non-zero exit (1)")
    failures = (await client.get("/services/web/usage"))["Failures"]
    assert (len(failures), sum(failures), sum(failures[-2:])) == (60, before + 1, before + 1)


async def test_a_viewer_sees_neither_names_nor_values(cluster: ApiCluster, client: Client):
    await client.make("/services/create", SPEC)
    await heard(cluster)
    viewer = Client(cluster.api, VIEWER)
    for path in ("/swarm/overview", "/swarm/timeline", "/swarm/overview/services"):
        answer = json.dumps(await viewer.get(path))
        assert "shop_api" in answer
        assert "tester" not in answer
        assert "secret" not in answer


@pytest.mark.usefixtures("tasks")
async def test_a_task_that_fails_is_in_the_timeline(cluster: ApiCluster, client: Client):
    await heard(cluster)
    await set_state(cluster, "0" * 25, TaskState.FAILED, "task: non-zero exit (1)")
    entry = (await client.get("/swarm/timeline?topic=tasks"))["Entries"][0]
    assert (entry["Text"], entry["Level"]) == ("web.1 failed on w1: task: non-zero exit (1)", "error")
    assert {(each["Kind"], each["Name"]) for each in entry["Related"]} == {("service", "web"), ("node", "w1")}
    for reference in ("w1", "web", "0" * 25, "0" * 12):
        assert (await client.get(f"/swarm/timeline?object={reference}"))["Entries"][0] == entry


@pytest.mark.usefixtures("tasks")
async def test_why_asks_the_schedulers_filters(cluster: ApiCluster, client: Client):
    def demand(tx: Transaction) -> None:
        task = tx.tasks.get("2" * 25)
        assert isinstance(task, Task)
        spec = msgspec.convert(
            {"Resources": {"Reservations": {"MemoryBytes": 64 << 30}}, "Placement": {"Constraints": ["node.id!=x"]}},
            type(task.spec),
        )
        tx.put(msgspec.structs.replace(task, spec=spec))

    await cluster.store.update(demand)
    found = await client.get(f"/tasks/{'2' * 25}/why")
    assert found["LookedAt"] == 3
    assert found["Refusing"] == [
        {
            "Reason": "insufficient resources on 2 nodes: 64GiB of memory",
            "Nodes": ["w1", "w2"],
            "Lacking": ["64GiB of memory"],
        },
        {"Reason": "no worker agent on 1 node", "Nodes": ["m1"]},
    ]
    assert (await client.get(f"/tasks/{'0' * 25}/why")) == {"Task": "0" * 25, "State": "running"}


@pytest.mark.usefixtures("tasks")
async def test_why_asks_what_the_scheduler_knows(cluster: ApiCluster, client: Client):
    """What all tasks reserve is not counted anew for each who asks."""
    load, view = ClusterLoad(), cluster.store.view
    load.apply(Change(None, view.nodes.get(WORKER1)))
    cluster.api.context = msgspec.structs.replace(cluster.api.context, load=lambda: load)
    found = await client.get(f"/tasks/{'2' * 25}/why")
    assert (found["LookedAt"], found["Fitting"]) == (1, ["w1"])


# --- the feed ---


class Reader:
    """Follows the feed; `take` waits for an event that it takes."""

    def __init__(self, cluster: ApiCluster, path: str, caller: Caller = VIEWER) -> None:
        self._cluster = cluster
        self._path, _, query = path.partition("?")
        self._query = dict(pair.split("=") for pair in query.split("&"))
        self._caller = caller
        self._events: asyncio.Queue[tuple[str, str, Any]] = asyncio.Queue()

    async def run(self) -> None:
        call = Call("GET", self._path, query=self._query, caller=self._caller)
        reply = await self._cluster.api.answer(call)
        assert isinstance(reply, Stream)
        assert (reply.content_type, reply.endless) == ("text/event-stream", True)
        await reply.produce(self._send)

    async def _send(self, data: bytes) -> None:
        for text in filter(None, data.decode().split("\n\n")):
            fields = dict(line.split(": ", 1) for line in text.split("\n"))
            self._events.put_nowait((fields.get("id", ""), fields["event"], json.loads(fields["data"])))

    async def take(self, wanted: Callable[[str, Any], bool]) -> tuple[str, Any]:
        while True:
            number, name, data = await self._events.get()
            if wanted(name, data):
                return number, data


def named(name: str) -> Callable[[str, Any], bool]:
    return lambda event, _: event == name


@pytest.mark.usefixtures("tasks")
async def test_the_feed_tells_what_changes(cluster: ApiCluster, client: Client):
    reader = Reader(cluster, "/swarm/overview/feed?topics=overview,nodes,services,timeline,node:w1,service:web")
    async with asyncio.TaskGroup() as group:
        following = group.create_task(reader.run())
        _, hello = await reader.take(named("hello"))
        assert hello["Topics"] == sorted(
            ["overview", "nodes", "services", "timeline", f"node:{WORKER1}", f"service:{WEB}"]
        )
        await set_state(cluster, "0" * 25, TaskState.FAILED, "exit 1")
        _, tiles = await reader.take(named("nodes"))
        assert [tile["Tasks"] for tile in tiles["Changed"] if tile["Name"] == "w1"] == [{"failed": 1}]
        _, entries = await reader.take(named("timeline"))
        assert [entry["Text"] for entry in entries["Entries"]] == ["web.1 failed on w1: exit 1"]
        _, boxes = await reader.take(named(f"node:{WORKER1}"))
        assert [(box[0], box[4]) for box in boxes["Changed"]] == [("0" * 25, "failed")]
        assert boxes["Row"]["Name"] == "w1"
        following.cancel()
    assert client.role == "admin"


async def test_a_reader_that_comes_back_misses_nothing(cluster: ApiCluster, client: Client):
    first = Reader(cluster, "/swarm/overview/feed?topics=timeline")
    async with asyncio.TaskGroup() as group:
        following = group.create_task(first.run())
        number, _ = await first.take(named("hello"))
        await client.make("/services/create", SPEC)
        await first.take(named("timeline"))
        following.cancel()
    second = Reader(cluster, f"/swarm/overview/feed?topics=timeline&after={number}")
    third = Reader(cluster, "/swarm/overview/feed?topics=timeline&after=elsewhere-3")
    async with asyncio.TaskGroup() as group:
        following = group.create_task(second.run()), group.create_task(third.run())
        _, missed = await second.take(named("timeline"))
        assert [(entry["Text"], "By" in entry) for entry in missed["Entries"]] == [("shop_api was created", False)]
        _, lost = await third.take(named("reset"))
        assert lost == {"Topics": ["timeline"]}
        for each in following:
            each.cancel()


async def test_topics_that_are_not_there_are_refused(client: Client):
    for topics, said in (("", "topics names 0 topics"), ("x", "there is no topic 'x'"), ("node:none", "node none not")):
        _, message = await client.error("GET", f"/swarm/overview/feed?topics={topics}")
        assert said in message
