"""Volumes of a cluster of two engines that are not there: who uses them, what goes, what an operator may say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from common.model import StoredObject, Transfer, Volume, VolumeClaim
from common.model.service import Global, ServiceMode
from manager.api.call import Answer, Call
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.container_engine import ContainerEngine, Engines
from tests.fakes.volumes import claim, copy, mount, running, service

ANONYMOUS = "0123456789abcdef" * 4
DB = service("db", "data")


async def put(cluster: ApiCluster, *values: StoredObject) -> None:
    await cluster.store.update(lambda tx: [tx.put(value) for value in values])


async def down(cluster: ApiCluster, node_id: str) -> None:
    def step(tx: Transaction) -> None:
        node = tx.nodes.get(node_id)
        assert node is not None
        tx.put(replace(node, status=replace(node.status, state="down")))

    await cluster.store.update(step)


def removals(engine: ContainerEngine) -> list[str]:
    return [each.path for each in engine.requests if each.method == "DELETE"]


def can_remove(engine: ContainerEngine, *names: str) -> None:
    engine.volumes |= set(names)
    for name in names:
        engine.answers[f"GET /volumes/{name}"] = (200, {"Name": name})
        engine.answers[f"DELETE /volumes/{name}"] = (204, b"")


async def test_what_a_broken_move_has_left_is_listed_and_goes(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    """Its copy has the newer mark, and no commit says that it counts."""
    engines.one.volumes = {"data"}
    can_remove(engines.two, "data")
    newer = copy(WORKER2, "data", generation=2)
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data"), newer)
    volumes = (await client.get("/volumes"))["Volumes"]
    (name,) = {node.name for node in cluster.store.view.nodes if node.id == WORKER1}
    assert {each["Status"]["State"] for each in volumes} == {"ready", f"unclaimed, newer than on {name}"}
    (other,) = {node.name for node in cluster.store.view.nodes if node.id == WORKER2}
    assert (await client.ask("DELETE", f"/volumes/{other}/data"))[0] == 204
    assert removals(engines.two)


async def test_a_list_says_who_uses_what(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    engines.one.volumes = {"data", "old"}
    old = copy(WORKER1, "old", role="left")
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data", size=700), old)
    volumes = (await client.get("/volumes"))["Volumes"]
    assert {each["Name"]: each.get("UsageData") for each in volumes} == {
        "data": {"Size": 700, "RefCount": 1},
        "old": None,
    }
    listed = {each["Name"]: each["Status"] for each in volumes}
    assert listed == {"data": {"State": "ready", "UsedBy": "db.1"}, "old": {"State": "left"}}


async def test_volumes_of_nodes_that_are_down_are_listed(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, DB, claim("db.1", "data", WORKER2), copy(WORKER2, "data"), copy(WORKER2, "other", driver="x"))
    await down(cluster, WORKER2)
    listed = (await client.get("/volumes"))["Volumes"]
    assert [(each["Name"], each["Status"]["State"]) for each in listed] == [
        ("data", "node down"),
        ("other", "node down"),
    ]
    assert listed[0]["Labels"] == {"swarm.x.node": "w2"}
    for filters, names in (
        ({"name": ["dat"]}, ["data"]),
        ({"driver": ["x"]}, ["other"]),
        ({"dangling": ["true"]}, ["other"]),
        ({"dangling": ["false"]}, ["data"]),
    ):
        found = await client.get(f"/volumes?filters={json.dumps(filters)}")
        assert [each["Name"] for each in found["Volumes"]] == names


async def test_a_volume_that_was_removed_by_hand_is_listed(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data", missing_since=7200.0))
    (found,) = (await client.get("/volumes"))["Volumes"]
    assert found["Status"] == {"State": "removed on its host at 1970-01-01T02:00:00Z", "UsedBy": "db.1"}


@pytest.mark.parametrize("query", ["", "?force=1"])
async def test_a_gone_services_missing_volume_is_forgotten(
    cluster: ApiCluster, client: Client, engines: Engines, query: str
) -> None:
    await put(cluster, claim("gone.1", "data", WORKER1), copy(WORKER1, "data", missing_since=7200.0))
    assert (await client.ask("DELETE", f"/volumes/data{query}"))[0] == 204
    assert not list(cluster.store.view.volumes)
    assert not list(cluster.store.view.volume_claims)


async def test_a_slots_missing_volume_is_not_forgotten(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data", missing_since=7200.0))
    assert (await client.error("DELETE", "/volumes/data"))[0] == 404
    assert len(list(cluster.store.view.volume_claims)) == 1


@pytest.mark.parametrize("query", ["", "?force=1"])
async def test_a_slots_data_is_not_removed(cluster: ApiCluster, client: Client, engines: Engines, query: str) -> None:
    can_remove(engines.one, "data")
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data"))
    status, message = await client.error("DELETE", f"/volumes/data{query}")
    assert (status, message) == (
        409,
        "volume data has the data of db.1: swarm-manager volume release w1/data first",
    )
    assert not removals(engines.one)


@pytest.mark.parametrize("role", ["", "retired", "left"])
async def test_ended_tasks_do_not_keep_an_old_copy(
    cluster: ApiCluster, client: Client, engines: Engines, role: str
) -> None:
    """Their containers are kept for their logs. Of what may be somebody's data the engine has the last word."""
    box = "b" * 64
    can_remove(engines.one, "data")
    engines.one.answers["DELETE /volumes/data"] = (409, {"message": "volume is in use"})
    engines.one.answers[f"DELETE /containers/{box}"] = (204, b"")
    engines.one.add(box, "db.1.old", State="exited")
    await put(cluster, copy(WORKER1, "data", role=role))
    assert (await client.error("DELETE", "/volumes/data")) == (409, "volume is in use")
    tries = ["/volumes/data", f"/containers/{box}", "/volumes/data"]
    assert removals(engines.one) == (tries if role else tries[:1])
    if role:
        (asked,) = [each for each in engines.one.requests if each.path.startswith("/containers/json")]
        assert json.loads(asked.query["filters"])["status"] == ["exited", "dead", "created"]


async def test_what_a_gone_service_remembers_goes_with_its_volume(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    can_remove(engines.one, "data")
    await put(cluster, claim("gone.1", "data", WORKER1), copy(WORKER1, "data"))
    assert (await client.ask("DELETE", "/volumes/data"))[0] == 204
    assert not list(cluster.store.view.volumes)
    assert not list(cluster.store.view.volume_claims)


@pytest.mark.parametrize(
    ("filters", "gone"),
    [({}, [ANONYMOUS]), ({"all": ["true"]}, [ANONYMOUS, "idle"]), ({"all": ["1"]}, [ANONYMOUS, "idle"])],
)
async def test_a_prune_never_takes_a_slots_data(
    cluster: ApiCluster, client: Client, engines: Engines, filters: Any, gone: list[str]
) -> None:
    can_remove(engines.one, "data", "idle", ANONYMOUS)
    sizes = [{"Name": name, "UsageData": {"RefCount": 0, "Size": 5}} for name in ("idle", ANONYMOUS)]
    engines.one.answers["GET /system/df"] = (200, {"Volumes": sizes})
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data"))
    found = await client.ask("POST", f"/volumes/prune?filters={json.dumps(filters)}")
    assert found == (200, {"VolumesDeleted": gone, "SpaceReclaimed": 5 * len(gone)})
    assert removals(engines.one) == [f"/volumes/{name}" for name in gone]
    asked = [each for each in engines.one.requests if each.path == "/volumes"]
    assert json.loads(asked[0].query["filters"]) == {"dangling": ["true"]}


@pytest.mark.parametrize("node_id", [WORKER1, WORKER2])
async def test_what_is_being_moved_is_not_removed(
    cluster: ApiCluster, client: Client, engines: Engines, node_id: str
) -> None:
    """The copy that a move is making is nobody's yet, and no container has it."""
    engine = engines.one if node_id == WORKER1 else engines.two
    can_remove(engine, "data")
    move = Transfer(id="m", volumes=("data",), source=WORKER1, target=WORKER2)
    await put(cluster, copy(node_id, "data"), move)
    status, message = await client.error("DELETE", "/volumes/data")
    assert (status, message) == (
        409,
        "volume data is being moved: wait for it, or swarm-manager volume cancel m first",
    )
    everything = json.dumps({"all": ["true"]})
    assert (await client.ask("POST", f"/volumes/prune?filters={everything}"))[1]["VolumesDeleted"] == []
    await put(cluster, replace(move, phase="failed"))
    assert (await client.ask("DELETE", "/volumes/data"))[0] == 204


async def test_release_lets_slots_start_elsewhere(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data"))
    assert await client.ask("POST", "/swarm/volumes/w1/data/release") == (200, {"Released": ["db.1 (w1)"]})
    assert [each.role for each in cluster.store.view.volumes] == ["left"]
    assert (await client.error("POST", "/swarm/volumes/data/release"))[0] == 404


async def test_a_missing_volumes_record_goes_with_its_release(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    gone = copy("removed", "data", missing_since=5.0)
    await put(cluster, DB, claim("db.1", "data", "removed"), gone)
    assert (await client.ask("POST", "/swarm/volumes/removed/data/release"))[0] == 200
    assert not list(cluster.store.view.volumes)


async def test_claim_says_where_a_slots_data_is(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, DB, copy(WORKER1, "data"), copy(WORKER2, "data", role="left"))
    assert await client.error("POST", "/swarm/volumes/data/claim", {"Slot": "db.1"}) == (
        409,
        "several nodes have a volume data: write w1/data (used by nobody) or w2/data (used by nobody) instead",
    )
    status, message = await client.error("POST", "/swarm/volumes/gone/claim", {"Slot": "db.1"})
    assert (status, message.endswith("no such volume: gone")) == (404, True)
    assert (await client.error("POST", "/swarm/volumes/w2/data/claim", {"Slot": "db"}))[0] == 400
    assert await client.ask("POST", "/swarm/volumes/w2/data/claim", {"Slot": "db.1"}) == (
        200,
        {"Slot": "db.1", "Node": "w2", "Warnings": None},
    )
    view = cluster.store.view
    assert [(each.node_id, each.bound) for each in view.volume_claims] == [(WORKER2, True)]
    chosen: Volume | None = view.volumes.get(f"{WORKER2}/data")
    assert chosen is not None
    assert chosen.role == ""


@pytest.mark.parametrize(
    ("slot", "volume", "warnings"),
    [
        ("db.2", "data", ["db has no slot 2: it finds the data when the service is scaled to 2"]),
        ("dbb.1", "data", ["there is no service dbb: one that is created with this name finds the data"]),
        ("db.1", "old", ["db.1 does not mount volume old: it mounts data"]),
        ("cache.2", "old", ["cache.2 does not mount volume old: it mounts old.2"]),
        ("web.1", "old", ["web.1 does not mount volume old: it mounts none whose data is a node's"]),
        ("stays.7", "old", None),
    ],
)
async def test_a_claim_for_what_is_not_there_yet_is_warned_of(
    cluster: ApiCluster, client: Client, engines: Engines, slot: str, volume: str, warnings: list[str] | None
) -> None:
    """A restore comes before the service, or before it is scaled up; so does a slip of the pen."""
    cache, stays = service("cache", mount("old", "slot"), replicas=2), service("stays", "old")
    left = running(stays, WORKER2, 7)  # scaled down and not gone, or numbered otherwise: the slot is there
    await put(cluster, DB, cache, service("web"), stays, left, copy(WORKER1, "data"), copy(WORKER1, "old"))
    status, said = await client.ask("POST", f"/swarm/volumes/{volume}/claim", {"Slot": slot})
    assert (status, said) == (200, {"Slot": slot, "Node": "w1", "Warnings": warnings})
    assert [each.holder for each in cluster.store.view.volume_claims if each.bound] == [slot]


async def test_a_global_service_has_no_slot_to_claim_for(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    everywhere = service("agent", "data")
    mode = ServiceMode(global_=Global())
    await put(cluster, replace(everywhere, spec=replace(everywhere.spec, mode=mode)), copy(WORKER1, "data"))
    assert await client.error("POST", "/swarm/volumes/data/claim", {"Slot": "agent.1"}) == (
        400,
        "agent is global: each of its nodes has a volume of its own, and no slot has one",
    )
    assert not list(cluster.store.view.volume_claims)


async def test_a_claim_is_not_taken_from_a_task_that_runs(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    held: VolumeClaim = claim("db.1", "data", WORKER1)
    await put(cluster, DB, held, copy(WORKER1, "data"), copy(WORKER2, "data"), running(DB, WORKER1))
    status, message = await client.error("POST", "/swarm/volumes/w2/data/claim", {"Slot": "db.1"})
    assert (status, message.partition(" desc = ")[2]) == (
        400,
        "db.1 runs on w1 with its data in data: scale it down first",
    )


async def test_a_task_on_a_lost_node_says_where_its_data_is(
    cluster: ApiCluster, client: Client, engines: Engines
) -> None:
    await put(cluster, DB, claim("db.1", "data", WORKER1), running(DB, WORKER1))
    await down(cluster, WORKER1)
    (task,) = [each for each in await client.get("/tasks") if each["ServiceID"] == "db"]
    assert task["Status"]["Err"].startswith("waits for volume data on w1, which is down since ")


async def test_a_drain_names_what_would_stop(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, DB, claim("db.1", "data", WORKER1), running(DB, WORKER1))
    node = await client.get(f"/nodes/{WORKER1}")
    path, body = (
        f"/nodes/{WORKER1}/update?version={node['Version']['Index']}",
        {**node["Spec"], "Availability": "drain"},
    )
    status, message = await client.error("POST", f"{path}&stateful=refuse", body)
    assert status == 400
    assert message.partition(" desc = ")[2] == (
        "node w1 has the data of db.1 (data): --move-volumes moves it to other nodes, --stop-stateful stops "
        "these tasks until the node is active again"
    )
    assert (await client.ask("POST", path, body))[0] == 200


async def test_a_container_goes_to_its_data_or_nowhere(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, copy(WORKER2, "data"))
    body = {"Image": "busybox", "HostConfig": {"Binds": ["data:/data"]}}
    assert (await client.ask("POST", "/containers/create", body))[0] == 201
    assert [each.path for each in engines.two.requests if each.method == "POST"] == ["/containers/create"]
    await down(cluster, WORKER2)
    status, message = await client.error("POST", "/containers/create", body)
    assert status == 409
    assert message.startswith("volume data is on w2, which takes no containers now")


async def test_all_data_of_a_node_can_be_moved(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    def step(tx: Transaction) -> None:
        for node in list(tx.nodes):
            tx.put(replace(node, description=replace(node.description, volumes=True)))

    await cluster.store.update(step)
    other = service("app", "files")
    await put(cluster, DB, other, running(DB, WORKER1), running(other, WORKER1))
    await put(cluster, claim("db.1", "data", WORKER1), copy(WORKER1, "data", size=500))
    await put(cluster, claim("app.1", "files", WORKER1), copy(WORKER1, "files", "e" * 32, size=5))
    await put(cluster, claim("gone.1", "old", WORKER1), copy(WORKER1, "old", "f" * 32))
    status, moves = await client.ask("POST", "/nodes/w1/volumes/move")
    assert status == 202
    assert [(each["Volumes"], each["To"]) for each in moves] == [(["files"], "w2"), (["data"], "w2")]
    assert [each["ID"] for each in (await client.ask("POST", "/nodes/w1/volumes/move"))[1]] == [
        each["ID"] for each in moves
    ]
    assert (await client.ask("DELETE", f"/swarm/transfers/{moves[0]['ID']}"))[0] == 204
    assert {each["Volumes"][0]: each["Phase"] for each in await client.get("/swarm/transfers")} == {
        "files": "failed",
        "data": "copying",
    }
    await down(cluster, WORKER2)
    status, moves = await client.ask("POST", "/nodes/w1/volumes/move")
    assert status == 202
    assert [(each["Volumes"], each["To"], each["Phase"]) for each in moves] == [
        (["data"], "w2", "copying"),
        (["files"], "", "failed"),
    ]
    assert moves[1]["Error"].startswith("no other node can take volume files: ")


async def test_a_move_is_tried_without_being_begun(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    def step(tx: Transaction) -> None:
        for node in list(tx.nodes):
            tx.put(replace(node, description=replace(node.description, volumes=True)))

    await cluster.store.update(step)
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data"))
    status, found = await client.ask("POST", "/swarm/volumes/data/move", {"Node": "w2", "DryRun": True})
    assert (status, found["Volumes"], found["From"], found["To"]) == (200, ["data"], "w1", "w2")
    assert await client.get("/swarm/transfers") == []
    assert (await client.error("POST", "/swarm/volumes/none/move", {"Node": "w2"}))[0] == 404
    status, message = await client.error("POST", "/swarm/volumes/data/move", {"Node": "w1"})
    assert "volume data is on node w1 already" in message


async def test_a_service_that_goes_says_which_volumes_stay(cluster: ApiCluster, engines: Engines) -> None:
    each = replace(service("web", "cache"), id="web")
    await put(cluster, DB, each, claim("db.1", "data", WORKER1), copy(WORKER1, "data"), copy(WORKER2, "cache"))
    for name, words in (("db", "data on w1"), ("web", "cache on w2")):
        reply = await cluster.api.answer(Call("DELETE", f"/services/{name}", caller=ADMIN))
        assert isinstance(reply, Answer)
        assert reply.headers == {"Warning": f'199 swarm-manager "these volumes stay: {words}"'}


async def test_a_drain_warns_of_what_it_stops(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, DB, running(DB, WORKER1), claim("db.1", "data", WORKER1), copy(WORKER1, "data"))
    node = await client.get("/nodes/w1")
    body = json.dumps({**node["Spec"], "Availability": "drain"}).encode()
    query, headers = {"version": str(node["Version"]["Index"])}, {"content-type": "application/json"}
    reply = await cluster.api.answer(Call("POST", "/nodes/w1/update", {}, query, headers, body, caller=ADMIN))
    assert isinstance(reply, Answer)
    assert reply.headers["Warning"].startswith('199 swarm-manager "stopped until the node is active again, as')


async def test_a_node_with_an_only_copy_goes_by_force(cluster: ApiCluster, client: Client, engines: Engines) -> None:
    await put(cluster, DB, claim("db.1", "data", WORKER1), copy(WORKER1, "data"))
    await down(cluster, WORKER1)
    status, message = await client.error("DELETE", "/nodes/w1")
    assert status == 400
    assert "has the only copy of data (db.1): with --force" in message
    assert (await client.ask("DELETE", "/nodes/w1?force=1"))[0] == 200
