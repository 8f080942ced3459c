"""Containers of a cluster of two engines that are not there: lists, finding, placing, names, volumes."""

import asyncio
import json
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from common.clock import parse_rfc3339
from common.model import Task
from common.model.container import ContainerSpec
from common.model.node import PlainContainers
from common.model.service import TaskSpec
from manager.api.call import Answer, Call, Relay
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.container_engine import ContainerEngine, Engines

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


async def down(cluster: ApiCluster, node_id: str) -> None:
    def write(tx: Transaction) -> None:
        node = tx.nodes.get(node_id)
        assert node is not None
        tx.put(msgspec.structs.replace(node, status=msgspec.structs.replace(node.status, state="down")))

    await cluster.store.update(write)


async def create(client: Client, name: str = "", **body: Any) -> tuple[int, Any]:
    query = f"?name={name}" if name else ""
    return await client.ask("POST", f"/containers/create{query}", {"Image": "busybox", **body})


def where(engines: Engines) -> list[str]:
    """Return the nodes that containers were made on, one letter for each."""
    made = [("1", engines.one), ("2", engines.two)]
    return [mark for mark, engine in made for r in engine.requests if r.path == "/containers/create"]


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_lists_are_merged_newest_first(client: Client, engines: Engines) -> None:
    engines.one.add(A, "old", created=10)
    engines.one.add(C, "newest", created=30)
    engines.two.add(B, "newer", created=20)
    listed = await client.get("/containers/json")
    assert [each["Names"] for each in listed] == [["/newest"], ["/newer"], ["/old"]]
    assert [each["Labels"]["swarm.x.node"] for each in listed] == ["w1", "w2", "w1"]
    assert [each["Id"] for each in await client.get("/containers/json?limit=2")] == [C, B]


@pytest.mark.parametrize("filters", ['{"node":["w2"]}', '{"label":["swarm.x.node=w2"]}'])
async def test_a_filter_by_node(client: Client, engines: Engines, filters: str) -> None:
    engines.one.add(A, "one")
    engines.two.add(B, "two")
    assert [each["Id"] for each in await client.get(f"/containers/json?filters={filters}")] == [B]
    assert engines.one.requests == []


def made_at(engine: ContainerEngine, full_id: str, name: str, created: str) -> None:
    """Have an engine list a container by the second, and inspect it by the instant, as real ones do."""
    engine.add(full_id, name, created=int(parse_rfc3339(created)))
    shown = {"Id": full_id, "Name": f"/{name}", "Created": created}
    engine.answers |= {f"GET /containers/{each}/json": (200, shown) for each in (full_id, name)}


@pytest.mark.parametrize(
    "seconds",
    [("01.2", "01.3", "01.4"), ("01.2", "01.3", "02.1"), ("00.9", "01.3", "01.4"), ("00.9", "01.3", "02.1")],
)
async def test_before_and_since_name_containers_of_any_node(
    client: Client, engines: Engines, seconds: tuple[str, ...]
) -> None:
    for number, (engine, full_id) in enumerate(((engines.one, A), (engines.two, B), (engines.one, C))):
        made_at(engine, full_id, f"c{number}", f"2026-01-31T12:00:{seconds[number]}00000000Z")
    for name, expected in (("before", A), ("since", C)):
        listed = await client.get(f'/containers/json?filters={{"{name}":["c1"]}}')
        assert [each["Id"] for each in listed] == [expected]


async def test_the_last_ones_are_told_apart_within_a_second(client: Client, engines: Engines) -> None:
    for engine, full_id, name, fraction in (
        (engines.one, A, "a", 1),
        (engines.two, B, "b", 3),
        (engines.one, C, "c", 2),
    ):
        made_at(engine, full_id, name, f"2026-01-31T12:00:01.{fraction}00000000Z")
    assert [each["Id"] for each in await client.get("/containers/json?limit=1")] == [B]
    assert [each["Id"] for each in await client.get("/containers/json?limit=2")] == [B, C]


async def test_tasks_containers_are_those_of_the_clusters_services(client: Client, engines: Engines) -> None:
    """Their engines do not know that they are tasks'."""
    engines.one.add(A, "web.1.x", Labels={"com.docker.swarm.task.id": "x"})
    engines.two.add(B, "plain")
    for value, expected in (("true", [A]), ("1", [A]), ("false", [B]), ("0", [B])):
        listed = await client.get(f'/containers/json?filters={{"is-task":["{value}"]}}')
        assert [each["Id"] for each in listed] == expected
    assert not any("is-task" in request.query.get("filters", "") for request in engines.one.requests)
    for value in ('"x"', '"true","false"'):
        status, message = await client.error("GET", f'/containers/json?filters={{"is-task":[{value}]}}')
        assert (status, message[:24]) == (400, "invalid filter 'is-task=")


async def test_what_all_engines_refuse_is_passed_on(client: Client, engines: Engines) -> None:
    for engine in (engines.one, engines.two):
        engine.answers["GET /containers/json"] = (400, {"message": "invalid filter 'status=odd'"})
    assert await client.error("GET", "/containers/json") == (400, "invalid filter 'status=odd'")
    assert (await client.error("GET", '/containers/json?filters={"odd":["x"]}'))[0] == 400


async def test_a_node_that_does_not_answer_is_missing_and_named(
    cluster: ApiCluster, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.api.containers.list.LIST_SECONDS", 0.2)
    engines.one.add(A, "there")
    engines.two.silent = True
    reply = await answer(cluster, "GET", "/containers/json")
    assert [each["Id"] for each in reply.value] == [A]
    assert reply.headers["Warning"] == '199 swarm-manager "not complete: w2: no answer within 0.2 s"'
    await down(cluster, WORKER2)
    reply = await answer(cluster, "GET", "/containers/json")
    assert reply.headers["Warning"] == '199 swarm-manager "not complete: w2: down"'
    asked = {"filters": '{"node":["w1"]}'}
    reply = await cluster.api.answer(Call("GET", "/containers/json", query=asked, caller=ADMIN))
    assert isinstance(reply, Answer)
    assert ([each["Id"] for each in reply.value], reply.headers) == ([A], {})


async def answer(cluster: ApiCluster, method: str, path: str) -> Answer:
    reply = await cluster.api.answer(Call(method, path, caller=ADMIN))
    assert isinstance(reply, Answer)
    return reply


# --- requests that cannot be ------------------------------------------------------------------------------------------


async def test_a_body_without_an_image_is_the_engines_to_refuse(client: Client, engines: Engines) -> None:
    """A real engine lists its images when it is asked for one of no name: that is no answer about an image."""
    for engine in (engines.one, engines.two):
        engine.answers["GET /images//json"] = (200, [])
        engine.answers["POST /containers/create"] = (400, {"message": "no command specified"})
    assert await client.error("POST", "/containers/create", {"Image": ""}) == (400, "no command specified")


@pytest.mark.parametrize("number", ["1" + "0" * 309, "-" + "9" * 5000, "1e999", "NaN"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/containers/create", '{"Image":"busybox","HostConfig":{"Memory":%s}}'),
        ("/containers/create", '{"Image":"busybox","StopTimeout":%s}'),
        ("/services/create", '{"Name":"web","TaskTemplate":{"ForceUpdate":%s}}'),
        ("/volumes/create", '{"Name":"v","Labels":{"a":%s}}'),
        ("/networks/create", '{"Name":"n","Internal":%s}'),
        ("/networks/bridge/connect", '{"Container":"box","EndpointConfig":{"GwPriority":%s}}'),
    ],
)
async def test_numbers_of_any_size(client: Client, engines: Engines, path: str, body: str, number: str) -> None:
    engines.one.add(A, "box")
    engines.one.answers["POST /networks/bridge/connect"] = (400, {"message": "cannot unmarshal number"})
    for engine in (engines.one, engines.two):
        engine.answers["POST /volumes/create"] = (400, {"message": "cannot unmarshal number"})
    status, answer = await client.ask("POST", path, (body % number).encode())
    assert status in {201, 400}, answer


@pytest.mark.parametrize("name", ["w1%2F..", "w1/..", "..", "%2e%2e", ".", "w1/.", "w1/a/../b", "w1//", "a%00b"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_names_of_volumes_that_lead_elsewhere(client: Client, engines: Engines, method: str, name: str) -> None:
    status, _ = await client.error(method, f"/volumes/{unquote(name)}")
    assert status in {400, 404}
    assert not any(".." in each.path for each in engines.one.requests + engines.two.requests)


# --- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [B, B[:12], B[:3], "two"])
async def test_a_container_is_found_by_id_prefix_and_name(client: Client, engines: Engines, reference: str) -> None:
    engines.one.add(A, "one")
    engines.two.add(B, "two")
    shown = await client.get(f"/containers/{reference}/json")
    assert (shown["Id"], shown["Node"]["Name"], shown["Config"]["Labels"]["swarm.x.node"]) == (B, "w2", "w2")


async def test_a_known_id_asks_no_other_node(client: Client, engines: Engines) -> None:
    engines.two.add(B, "two")
    await client.get(f"/containers/{B}/json")
    engines.one.requests.clear()
    await client.get(f"/containers/{B[:12]}/json")
    assert engines.one.requests == []


async def test_an_id_goes_before_a_name_and_a_name_before_a_prefix(client: Client, engines: Engines) -> None:
    engines.one.add("abc" + "0" * 61, "one")
    engines.two.add(B, "abc")
    assert (await client.get("/containers/abc/json"))["Id"] == B


async def test_two_of_one_name_are_told_apart_by_id(client: Client, engines: Engines) -> None:
    engines.one.add(A, "twin")
    engines.two.add(B, "twin")
    status, message = await client.error("GET", "/containers/twin/json")
    assert status == 400
    assert f"{A[:12]} on w1, {B[:12]} on w2" in message
    assert (await client.get(f"/containers/{A}/json"))["Id"] == A


async def test_what_no_node_has(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    assert await client.error("GET", "/containers/nobody/json") == (404, "No such container: nobody")
    assert (await client.error("GET", "/containers/%00/json"))[0] == 404
    engines.cut.add(WORKER2)
    status, message = await client.error("GET", "/containers/nobody/json")
    assert status == 503  # it may be there: nobody may take it for gone
    assert message == "container nobody was not found (not asked, as they do not answer: w2): try again"
    await down(cluster, WORKER2)
    status, message = await client.error("GET", "/containers/nobody/json")
    assert (status, message) == (404, "No such container: nobody (not asked, as they do not answer: w2)")


async def test_a_silent_node_does_not_hide_others_containers(
    client: Client, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.api.containers.locate.GRACE_SECONDS", 0.1)
    engines.one.add(A, "there")
    engines.two.silent = True
    async with asyncio.timeout(10):
        assert (await client.get("/containers/there/json"))["Id"] == A


async def test_a_container_of_a_lost_node(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    engines.two.add(B, "two")
    await client.get(f"/containers/{B}/json")
    await down(cluster, WORKER2)
    status, message = await client.error("GET", f"/containers/{B}/json")
    assert (status, "node w2 is not connected" in message) == (503, True)


async def test_the_lower_api_version_is_spoken(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    def write(tx: Transaction) -> None:
        node = tx.nodes.get(WORKER1)
        assert node is not None
        engine = msgspec.structs.replace(node.description.engine, api_version="1.41")
        description = msgspec.structs.replace(node.description, engine=engine)
        tx.put(msgspec.structs.replace(node, description=description))

    await cluster.store.update(write)
    for version in ("1.51", "1.40"):
        await client.get(f"/v{version}/containers/json")
    assert engines.one.versions == ["v1.41", "v1.40"]
    assert engines.two.versions == ["v1.51", "v1.40"]


# --- placing ----------------------------------------------------------------------------------------------------------


async def test_containers_are_spread(client: Client, engines: Engines) -> None:
    for _ in range(4):
        assert (await create(client))[0] == 201
    assert sorted(where(engines)) == ["1", "1", "2", "2"]


async def test_a_name_is_taken_once_in_the_cluster(client: Client, engines: Engines) -> None:
    engines.two.add(B, "web")
    status, answer = await create(client, "web")
    assert status == 409
    assert answer["message"].startswith(f'Conflict. The container name "/web" is already in use by container "{B}"')
    engines.one.add(A, "other")
    assert (await client.error("POST", "/containers/other/rename?name=web"))[0] == 409
    assert (await client.ask("POST", "/containers/web/rename?name=web2"))[0] == 204


async def test_two_at_once_get_one_name(client: Client, engines: Engines) -> None:
    replies = await asyncio.gather(*(create(client, "same") for _ in range(5)))
    assert sorted(status for status, _ in replies) == [201, 409, 409, 409, 409]
    assert len(where(engines)) == 1


async def test_ports_do_not_meet(client: Client, engines: Engines) -> None:
    ports: dict[str, Any] = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}
    replies = await asyncio.gather(*(create(client, **ports) for _ in range(3)))
    assert sorted(status for status, _ in replies) == [201, 201, 409]
    assert sorted(where(engines)) == ["1", "2"]
    status, answer = await create(client, **ports)
    assert status == 409
    assert "host-mode port already in use on 2 nodes" in answer["message"]
    other: dict[str, Any] = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8081"}]}}}
    assert (await create(client, **other))[0] == 201


async def test_a_port_of_the_mesh_is_taken_everywhere(client: Client, engines: Engines) -> None:
    ports = {"EndpointSpec": {"Ports": [{"PublishedPort": 8080, "TargetPort": 80}]}}
    await client.make("/services/create", {"Name": "shop", "TaskTemplate": {"ContainerSpec": {"Image": "x"}}, **ports})
    status, answer = await create(client, HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    assert status == 409
    assert "already in use by service 'shop'" in answer["message"]


async def test_constraints_by_label_and_by_environment(client: Client, engines: Engines) -> None:
    for given in (
        {"Labels": {"swarm.x.constraint": "node.hostname==w2, node.role==worker"}},
        {"Env": ["A=1", "constraint:node.hostname==w2"]},
    ):
        assert (await create(client, **given))[0] == 201
    assert where(engines) == ["2", "2"]
    assert json.loads(engines.two.requests[-1].body)["Env"] == ["A=1"]
    status, answer = await create(client, Labels={"swarm.x.constraint": "node.hostname==w9"})
    assert (status, "scheduling constraints not satisfied on 2 nodes" in answer["message"]) == (409, True)
    status, answer = await create(client, Labels={"swarm.x.constraint": "nonsense"})
    assert status == 400


async def test_reported_unmanaged_containers_are_not_counted_twice(
    client: Client, cluster: ApiCluster, engines: Engines
) -> None:
    """The engines themselves are asked: what they list is newer."""

    def report(tx: Transaction) -> None:
        node = tx.nodes.get(WORKER1)
        assert node is not None
        plain = PlainContainers(count=9, memory_bytes=1 << 50)
        tx.put(msgspec.structs.replace(node, description=msgspec.structs.replace(node.description, plain=plain)))

    await cluster.store.update(report)
    engines.two.add(B, "one there")
    status, _ = await create(client, HostConfig={"MemoryReservation": 1 << 20})
    assert (status, where(engines)) == (201, ["1"])
    shown = await client.get(f"/nodes/{WORKER1}")
    assert shown["Description"]["PlainContainers"] == {"Count": 9, "MemoryBytes": 1 << 50}


async def test_limits_are_reservations(client: Client, engines: Engines) -> None:
    half: dict[str, Any] = {"HostConfig": {"NanoCpus": 1_500_000_000}}
    replies = [await create(client, **half) for _ in range(3)]
    assert [status for status, _ in replies] == [201, 201, 409]
    assert "insufficient resources on 2 nodes" in replies[2][1]["message"]
    status, _ = await create(client, HostConfig={"Memory": 5 << 30})
    assert status == 409
    status, _ = await create(client, HostConfig={"Memory": 5 << 30, "MemoryReservation": 1 << 30})
    assert status == 201


async def test_a_name_not_from_a_client_means_the_chosen_nodes_image(client: Client, engines: Engines) -> None:
    engines.two.images.add("only-there")
    missing = (404, {"message": "No such image: only-there:latest on node w1"})
    assert await create(client, Image="only-there") == missing, "no node is preferred for what it says"
    on_second = {"swarm.x.constraint": "node.hostname==w2"}
    assert (await create(client, Image="only-there", Labels=on_second))[0] == 201
    assert where(engines) == ["2"]


async def test_an_image_without_a_name_is_shown_by_the_requested_one(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    image, strange = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    task = Task(id="t" * 25, spec=TaskSpec(container_spec=ContainerSpec(image="shop:1")))
    await cluster.store.update(lambda tx: tx.put(task))
    engines.one.add("1" * 64, "plain", Image=image, Labels={"swarm.x.image": "shop:2"})
    engines.one.add("2" * 64, "task", Image=image, Labels={"com.docker.swarm.task.id": task.id})
    engines.one.add("3" * 64, "other", Image=strange)
    engines.two.add("4" * 64, "named", Image="shop:3", Labels={"swarm.x.image": "shop:2"})
    shown = {each["Names"][0]: each["Image"] for each in await client.get("/containers/json")}
    assert shown == {"/plain": "shop:2", "/task": "shop:1", "/other": strange, "/named": "shop:3"}


async def test_volumes_and_others_draw_a_container_to_their_node(client: Client, engines: Engines) -> None:
    engines.two.volumes.add("data")
    engines.two.add(B, "db")
    for host in (
        {"Binds": ["data:/data"]},
        {"Mounts": [{"Type": "volume", "Source": "data", "Target": "/data"}]},
        {"NetworkMode": "container:db"},
        {"VolumesFrom": ["db:ro"]},
        {"Links": ["db:alias"]},
    ):
        assert (await create(client, HostConfig=host))[0] == 201
    assert where(engines) == ["2"] * 5
    engines.one.add(A, "app")
    status, answer = await create(client, HostConfig={"VolumesFrom": ["db"], "PidMode": "container:app"})
    assert (status, "are on different nodes: w1, w2" in answer["message"]) == (409, True)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Links": ["nope:x"]}, "could not get container for nope: No such container: nope"),
        ({"Links": ["/nope:/web/x"]}, "could not get container for nope: No such container: nope"),
        ({"VolumesFrom": ["nope:ro"]}, "No such container: nope"),
        ({"PidMode": "container:nope"}, "No such container: nope"),
        ({"IpcMode": "container:nope"}, "No such container: nope"),
        ({"NetworkMode": "container:nope"}, "No such container: nope"),
    ],
)
async def test_another_container_that_is_missing_is_no_missing_image(
    client: Client, engines: Engines, host: dict[str, Any], words: str
) -> None:
    """Clients take a 404 for that, pull the image, and fail with other words."""
    assert await client.error("POST", "/containers/create", {"Image": "busybox", "HostConfig": host}) == (400, words)
    status, _ = await client.error("POST", "/containers/create", {"Image": "nowhere", "HostConfig": host})
    assert status == 404, "the image is looked for first"


async def test_a_container_of_nothing_is_refused_in_the_engines_words(client: Client, engines: Engines) -> None:
    words = "config cannot be empty in order to create a container"
    for body in ({}, {"HostConfig": {"Memory": 1 << 30}}, None):
        assert await client.error("POST", "/containers/create", body) == (400, words)
    assert where(engines) == []
    status, _ = await client.ask("POST", "/containers/create", {"Cmd": ["x"]})
    assert status == 201, "engines make one without an image"
    assert not any(request.path.startswith("/images/") for request in engines.one.requests)


async def test_networks_of_engines_are_passed_on(client: Client, engines: Engines) -> None:
    status, answer = await create(client, NetworkingConfig={"EndpointsConfig": {"nowhere": {}}})
    assert (status, answer["message"]) == (400, "network nowhere not found")
    assert (await create(client, HostConfig={"NetworkMode": "host"}))[0] == 201


async def test_no_container_can_pass_for_an_agents_own(client: Client, engines: Engines) -> None:
    """The agent stops what carries its label and no task claims: users cannot give it, images cannot bring it."""
    for label in ("swarm.x.agent", "com.docker.swarm.task.id"):
        assert (await create(client, Labels={label: WORKER1}))[0] == 400
    for engine in (engines.one, engines.two):
        engine.image_labels = {"swarm.x.agent": WORKER1, "com.docker.swarm.task.id": "t", "theirs": "kept"}
    await create(client, Labels={"mine": "1", "swarm.x.node": "w1"})
    [made] = [r for e in (engines.one, engines.two) for r in e.requests if r.path == "/containers/create"]
    labels = json.loads(made.body)["Labels"]
    assert labels == {"mine": "1", "swarm.x.agent": "", "com.docker.swarm.task.id": "", "swarm.x.container": ""}


# --- volumes ----------------------------------------------------------------------------------------------------------


async def test_volumes_of_one_name_are_told_apart_by_node(client: Client, engines: Engines) -> None:
    engines.one.volumes = engines.two.volumes = {"data"}
    listed = (await client.get("/volumes"))["Volumes"]
    assert [(each["Name"], each["Labels"]["swarm.x.node"]) for each in listed] == [("data", "w1"), ("data", "w2")]
    for engine in (engines.one, engines.two):
        engine.answers["GET /volumes/data"] = (200, {"Name": "data"})
        engine.answers["DELETE /volumes/data"] = (204, b"")
    status, message = await client.error("DELETE", "/volumes/data")
    assert (status, message) == (
        409,
        "several nodes have a volume data: write w1/data (used by nobody) or w2/data (used by nobody) instead",
    )
    assert (await client.ask("DELETE", "/volumes/w2/data"))[0] == 204
    assert [r.method for r in engines.one.requests if r.path == "/volumes/data"] == ["GET"]
    assert (await client.error("GET", "/volumes/w9/data"))[0] == 404
    assert (await client.error("GET", "/volumes/none"))[0] == 404


async def test_engine_warnings_differ_from_missing_node_warnings(client: Client, engines: Engines) -> None:
    """All of it is in Docker's field; the command line shows the engines' own, and did not tell them apart before."""
    engines.one.answers["GET /volumes"] = (200, {"Volumes": [], "Warnings": ["driver nfs does not answer"]})
    engines.two.answers["GET /volumes"] = (500, {"message": "broken"})
    found = await client.get("/volumes")
    assert found["EngineWarnings"] == ["node w1: driver nfs does not answer"]
    assert [warning.partition(":")[0] for warning in found["Warnings"]] == ["node w2", "node w1"]
    engines.one.answers["GET /volumes"] = (200, {"Volumes": [], "Warnings": None})
    assert "EngineWarnings" not in await client.get("/volumes")


async def test_a_volumes_answers_all_tell_its_node(client: Client, engines: Engines) -> None:
    for engine in (engines.one, engines.two):
        engine.answers["POST /volumes/create"] = (201, {"Name": "data", "Labels": None})
    status, made = await client.ask("POST", "/volumes/create", {"Name": "w2/data"})
    assert (status, made["Labels"]) == (201, {"swarm.x.node": "w2"})
    for engine in (engines.one, engines.two):
        engine.answers["POST /volumes/create"] = (409, {"message": "conflict"})
    assert await client.error("POST", "/volumes/create", {"Name": "w2/data"}) == (409, "conflict")


# --- exec -------------------------------------------------------------------------------------------------------------


async def test_an_exec_is_found_by_a_manager_that_did_not_create_it(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    engines.two.answers["GET /exec/e1/json"] = (200, {"ID": "e1"})
    reply = await cluster.api.answer(Call("GET", "/exec/e1/json", caller=ADMIN))
    assert isinstance(reply, Relay)
    assert await client.error("GET", "/exec/e2/json") == (404, "No such exec instance: e2")
    engines.cut.add(WORKER2)
    said = "exec e2 was not found (not asked, as they do not answer: w2): try again"
    assert await client.error("GET", "/exec/e2/json") == (503, said)
