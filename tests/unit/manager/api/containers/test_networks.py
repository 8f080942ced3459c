"""Plain containers in networks of the cluster, over two engines that are not there and workers that the test plays."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from common.model import NetworkAttachment, Task, TaskState, TaskStatus
from common.model.attachment import AttachedEnd
from common.model.container import Mount
from common.model.service import NetworkAttachmentConfig, PortConfig, TaskSpec
from common.model.task import ContainerStatus
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, ApiCluster
from tests.fakes.container_engine import ContainerEngine, Engines, Request

A, B, C = "a" * 64, "b" * 64, "c" * 64
CUT = "network wide was not made"


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[Engines]:
    async with Engines(cluster) as engines:
        for engine in (engines.one, engines.two):
            for name in ("00-orc-gw", "orc-wide"):
                for action in ("connect", "disconnect"):
                    engine.answers[f"POST /networks/{name}/{action}"] = (200, b"")
        yield engines


@pytest.fixture
async def workers(cluster: ApiCluster) -> AsyncIterator[list[str]]:
    """Play the workers: whatever is attached gets addresses, or the error that is in the list."""
    errors: list[str] = []

    def answer(tx: Transaction) -> None:
        for number, found in enumerate(list(tx.attachments)):
            named = [("00-orc-gw", "mesh", f"10.240.1.{number + 2}")]
            named += [("orc-wide", each.target, each.address or f"10.5.16.{number + 2}") for each in found.networks]
            ends = tuple(AttachedEnd(network=name, network_id=i, address=address) for name, i, address in named)
            mounts = (Mount(type="bind", source=f"/resolv/{found.id}", target="/etc/resolv.conf"),)
            status = msgspec.structs.replace(
                found.status, ends=ends, dns=("10.240.1.1",), mounts=mounts, err="".join(errors)
            )
            if found.live and status != found.status:
                tx.put(msgspec.structs.replace(found, status=status))

    async def play() -> None:
        with cluster.store.watch() as changes:
            while True:
                await changes.next()
                await cluster.store.update(answer)

    playing = asyncio.create_task(play())
    yield errors
    playing.cancel()
    await asyncio.wait({playing})


@pytest.fixture
async def wide(client: Client, workers: list[str]) -> str:
    body = {"Name": "wide", "Driver": "overlay", "Attachable": True, "IPAM": {"Config": [{"Subnet": "10.5.0.0/16"}]}}
    return str(await client.make("/networks/create", body))


async def create(client: Client, name: str, **endpoint: Any) -> tuple[int, Any]:
    body = {
        "Image": "busybox",
        "Hostname": "own",
        "HostConfig": {"NetworkMode": "wide", "Dns": ["9.9.9.9"]},
        "NetworkingConfig": {"EndpointsConfig": {"wide": endpoint or None}},
    }
    return await client.ask("POST", f"/containers/create?name={name}", body)


def bodies(engine: ContainerEngine, path: str) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in _requests(engine, path)]


def _requests(engine: ContainerEngine, path: str) -> list[Request]:
    return [each for each in engine.requests if each.method == "POST" and each.path == path]


def bodies_sent(engine: ContainerEngine, path: str) -> int:
    return len(_requests(engine, path))


def attachments(cluster: ApiCluster) -> list[NetworkAttachment]:
    return [each for each in cluster.store.view.attachments if each.live]


async def test_a_container_is_made_with_what_its_node_prepared(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    assert (await create(client, "box", Aliases=["alias"], DriverOpts={"x": "y"}))[0] == 201
    (found,) = attachments(cluster)
    assert (found.name, found.hostname, found.networks[0].aliases) == ("box", "own", ("alias",))
    engine = engines.one if found.node_id == WORKER1 else engines.two
    (made,) = bodies(engine, "/containers/create")
    assert made["Labels"]["swarm.x.attachment"] == found.id
    host = made["HostConfig"]
    assert (host["NetworkMode"], host["Dns"]) == ("00-orc-gw", ["10.240.1.1"])
    assert [mount["Target"] for mount in host["Mounts"]] == ["/etc/resolv.conf"]
    gateway = {"IPAMConfig": {"IPv4Address": "10.240.1.2"}}
    assert made["NetworkingConfig"]["EndpointsConfig"] == {"00-orc-gw": gateway}
    (joined,) = bodies(engine, "/networks/orc-wide/connect")
    assert joined["EndpointConfig"] == {"DriverOpts": {"x": "y"}, "IPAMConfig": {"IPv4Address": "10.5.16.2"}}
    assert found.container_id == joined["Container"]


async def test_inspect_shows_the_names_that_were_given(client: Client, engines: Engines, wide: str) -> None:
    """Clients compare them with what they asked for; the engine has not been told of them."""
    _, made = await create(client, "box", Aliases=["store", "db"])
    full_id = json.loads(made)["Id"]
    own = full_id[:12]
    for engine in (engines.one, engines.two):
        end = {"Aliases": [own], "DNSNames": ["box", own, "own"]}
        shown = {"Id": full_id, "Name": "/box", "Config": {"Labels": {}}, "HostConfig": {}}
        ends = {f"orc-wide-{wide[:5]}": end, "bridge": {"Aliases": None, "DNSNames": None}}
        engine.answers[f"GET /containers/{full_id}/json"] = (200, {**shown, "NetworkSettings": {"Networks": ends}})
    networks = (await client.get(f"/containers/{full_id}/json"))["NetworkSettings"]["Networks"]
    assert networks["wide"]["Aliases"] == ["store", "db", own]
    assert networks["wide"]["DNSNames"] == ["box", "store", "db", own, "own"]
    assert networks["bridge"] == {"Aliases": None, "DNSNames": None}


async def test_links_are_names_for_one_container_on_whatever_node(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    engines.one.add(A, "db")
    engines.two.add(B, "cache")
    body = {
        "Image": "busybox",
        "HostConfig": {"NetworkMode": "wide", "Links": ["db:store", "/db:/box/sql", B]},
        "NetworkingConfig": {"EndpointsConfig": {"wide": {"Links": ["cache:redis"]}}},
    }
    _, made = await client.ask("POST", "/containers/create?name=box", body)
    full_id = json.loads(made)["Id"]
    (found,) = attachments(cluster)
    assert found.networks[0].links == {"store": "db", "sql": "db", B: B[:12], "redis": "cache"}
    engine = engines.one if found.node_id == WORKER1 else engines.two
    (sent,) = bodies(engine, "/containers/create")
    assert "Links" not in sent["HostConfig"], "the engine has the others not all"
    (joined,) = bodies(engine, "/networks/orc-wide/connect")
    assert "Links" not in joined["EndpointConfig"]
    ends = {f"orc-wide-{wide[:5]}": {"Links": None}}
    shown = {"Id": full_id, "Name": "/box", "Config": {}, "HostConfig": {}, "NetworkSettings": {"Networks": ends}}
    engine.answers[f"GET /containers/{full_id}/json"] = (200, shown)
    inspected = await client.get(f"/containers/{full_id}/json")
    assert inspected["NetworkSettings"]["Networks"]["wide"]["Links"][:2] == ["db:store", "db:sql"]
    assert "/db:/box/store" in inspected["HostConfig"]["Links"]


async def test_a_link_to_nothing_is_refused(client: Client, engines: Engines, wide: str) -> None:
    for given, words in (
        ("nope:x", "could not get container for nope: No such container: nope"),
        ("a:b:c", "bad format"),
    ):
        body = {"Image": "busybox", "HostConfig": {"NetworkMode": "wide", "Links": [given]}}
        status, message = await client.error("POST", "/containers/create", body)
        assert (status, message[: len(words)]) == (400, words)


@pytest.mark.parametrize("action", ["start", "restart"])
async def test_a_container_has_started_when_all_hosts_know_it(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str, action: str
) -> None:
    _, made = await create(client, "box")
    full_id = json.loads(made)["Id"]
    (record,) = attachments(cluster)
    engine = engines.one if record.node_id == WORKER1 else engines.two
    looked = f"/containers/{full_id}/json"
    engine.answers[f"GET {looked}"] = (200, {"Id": full_id, "Name": "/box", "State": {"Running": True}})
    starting = asyncio.create_task(client.ask("POST", f"/containers/{full_id}/{action}"))
    while not any(request.path == looked for request in engine.requests):
        await asyncio.sleep(0.001)
    assert bodies_sent(engine, f"/containers/{full_id}/{action}") == 1
    assert (await client.get("/networks/wide"))["Containers"] == {}
    assert (starting.done(), engines.barriers) == (False, 0)

    def run(tx: Transaction) -> None:
        known = tx.attachments.get(record.id)
        assert known is not None
        tx.put(msgspec.structs.replace(known, status=msgspec.structs.replace(known.status, running=True)))

    await cluster.store.update(run)
    assert await starting == (204, None)
    assert engines.barriers == 1
    assert list((await client.get("/networks/wide"))["Containers"]) == [full_id]


async def test_a_container_that_has_ended_already_is_not_waited_for(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    _, made = await create(client, "box")
    full_id = json.loads(made)["Id"]
    for engine in (engines.one, engines.two):
        engine.answers[f"GET /containers/{full_id}/json"] = (
            200,
            {"Id": full_id, "Name": "/box", "State": {"Running": False}},
        )
    assert await client.ask("POST", f"/containers/{full_id}/start") == (204, None)
    assert engines.barriers == 0


async def test_inspect_shows_a_tasks_names(cluster: ApiCluster, client: Client, engines: Engines, wide: str) -> None:
    def add(tx: Transaction) -> None:
        networks = (NetworkAttachmentConfig(target=wide, aliases=("front",)),)
        status = TaskStatus(state=TaskState.RUNNING, container_status=ContainerStatus(container_id=A))
        tx.put(Task(id="t" * 25, service_name="web", spec=TaskSpec(networks=networks), node_id=WORKER1, status=status))

    await cluster.store.update(add)
    ends = {f"orc-wide-{wide[:5]}": {"Aliases": None}}
    shown = {"Id": A, "Name": "/web.1.t", "Config": {"Labels": {"com.docker.swarm.task.id": "t" * 25}}}
    engines.one.answers[f"GET /containers/{A}/json"] = (200, {**shown, "NetworkSettings": {"Networks": ends}})
    found = (await client.get(f"/containers/{A}/json"))["NetworkSettings"]["Networks"]
    assert found["wide"] == {"Aliases": ["front"], "NetworkID": wide}, "DNSNames are not for old engines"


async def test_who_may_not_join_is_told_what_to_do(client: Client, engines: Engines, wide: str) -> None:
    await client.make("/networks/create", {"Name": "closed", "Driver": "overlay"})
    status, answer = await client.ask(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"NetworkMode": "closed"}}
    )
    assert (status, "network closed not manually attachable: make it with" in answer["message"]) == (403, True)
    both = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"wide": {}, "bridge": {}}}}
    status, answer = await client.ask("POST", "/containers/create", both)
    assert (status, "conflicting options" in answer["message"]) == (400, True)
    forged = {"Image": "busybox", "Labels": {"swarm.x.attachment": "x"}}
    assert (await client.ask("POST", "/containers/create", forged))[0] == 400


async def test_what_cannot_be_made_leaves_nothing_behind(
    cluster: ApiCluster, client: Client, engines: Engines, workers: list[str], wide: str
) -> None:
    workers.append(CUT)
    status, answer = await create(client, "box")
    assert (status, CUT in answer["message"], attachments(cluster)) == (503, True, [])
    workers.clear()
    for engine in (engines.one, engines.two):
        engine.answers["POST /networks/orc-wide/connect"] = (404, {"message": "network orc-wide not found"})
    assert (await create(client, "box"))[0] == 503, "a 404 would make clients pull the image"
    assert attachments(cluster) == []
    removed = [r.path for engine in (engines.one, engines.two) for r in engine.requests if r.method == "DELETE"]
    assert len(removed) == 1, "the half-made container"


async def test_an_address_is_given_by_the_node_that_has_its_part(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    assert (await create(client, "one", IPAMConfig={"IPv4Address": "10.5.99.7"}))[0] == 201
    (first,) = attachments(cluster)
    assert cluster.store.view.networks.get(wide).leases == {first.node_id: "10.5.99.0/24"}  # type: ignore[union-attr]
    assert (await create(client, "two", IPAMConfig={"IPv4Address": "10.5.99.8"}))[0] == 201
    assert {each.node_id for each in attachments(cluster)} == {first.node_id}
    status, answer = await create(client, "three", IPAMConfig={"IPv4Address": "10.5.99.7"})
    assert (status, "in use by one" in answer["message"]) == (409, True)
    status, answer = await create(client, "four", IPAMConfig={"IPv4Address": "10.9.0.1"})
    assert (status, "choose one from 10.5.16.2 to 10.5.255.254" in answer["message"]) == (400, True)


async def test_every_address_that_is_offered_can_be_had(client: Client, engines: Engines, wide: str) -> None:
    status, answer = await create(client, "box", IPAMConfig={"IPv4Address": "10.9.0.1"})
    first = answer["message"].partition("choose one from ")[2].split()[0]
    assert (await create(client, "box", IPAMConfig={"IPv4Address": first}))[0] == 201
    status, answer = await create(client, "other", IPAMConfig={"IPv4Address": "10.5.17.0"})
    assert (status, "of its own part, but for the part's first two" in answer["message"]) == (409, True)


async def test_an_ipv6_address_names_the_ipv4_one_that_it_follows_from(
    cluster: ApiCluster, client: Client, engines: Engines, workers: list[str]
) -> None:
    config = [{"Subnet": "10.5.0.0/16"}, {"Subnet": "fd00:5::/64"}]
    body = {"Name": "wide", "Driver": "overlay", "Attachable": True, "EnableIPv6": True, "IPAM": {"Config": config}}
    await client.make("/networks/create", body)
    assert (await create(client, "one", IPAMConfig={"IPv6Address": "fd00:5::a05:6307"}))[0] == 201
    (found,) = attachments(cluster)
    assert found.networks[0].address == "10.5.99.7"
    both = {"IPv4Address": "10.5.99.8", "IPv6Address": "fd00:5::a05:6308"}
    assert (await create(client, "two", IPAMConfig=both))[0] == 201
    for asked, said in (
        (
            {"IPv6Address": "fd00:6::1"},
            "fd00:5::/64 with their IPv4 address at its end, as fd00:5::a05:1002 for 10.5.16.2",
        ),
        ({**both, "IPv4Address": "10.5.99.9"}, "as fd00:5::a05:6309 for 10.5.99.9"),
        ({"IPv6Address": "fd00:5::5"}, "cannot have the address 0.0.0.5: choose one from 10.5.16.2"),
        ({"IPv6Address": "::x"}, "invalid IPv6 address '::x' for network wide"),
    ):
        status, answer = await create(client, "other", IPAMConfig=asked)
        assert (status, said in answer["message"]) == (400, True), answer


async def test_an_ipv6_address_needs_a_network_that_has_one(client: Client, engines: Engines, wide: str) -> None:
    status, answer = await create(client, "one", IPAMConfig={"IPv6Address": "fd00:5::1"})
    assert (status, "network wide has no IPv6: leave --ip6 out" in answer["message"]) == (400, True)


async def test_connect_and_disconnect(cluster: ApiCluster, client: Client, engines: Engines, wide: str) -> None:
    engines.one.add(A, "box")
    shown = {"Id": A, "Name": "/box", "State": {"Running": True}}
    engines.one.answers |= {f"GET /containers/{each}/json": (200, shown) for each in ("box", A)}
    body = {"Container": "box", "EndpointConfig": {"Aliases": ["joined"], "GwPriority": 9, "MacAddress": "2:0:0:0:0:1"}}
    assert (await client.ask("POST", "/networks/wide/connect", body))[0] == 200
    (found,) = attachments(cluster)
    assert (found.container, found.networks[0].aliases) == (A, ("joined",))
    (sent,) = bodies(engines.one, "/networks/orc-wide/connect")
    assert sent["Container"] == A
    assert sent["EndpointConfig"]["MacAddress"] == "2:0:0:0:0:1"
    assert "GwPriority" not in sent["EndpointConfig"], "the way out of the host is not to be moved"
    assert bodies(engines.one, "/networks/00-orc-gw/connect"), "it had no way out"
    status, answer = await client.ask("POST", "/networks/wide/connect", body)
    assert (status, "already exists in network wide" in answer["message"]) == (403, True)
    engines.one.answers[f"GET /containers/{A}/json"] = (200, {**shown, "State": {"Running": False}})
    assert (await client.ask("POST", "/networks/wide/connect", body))[0] == 200, "as engines do before the start"
    assert len(bodies(engines.one, "/networks/orc-wide/connect")) == 1

    assert (await client.ask("POST", "/networks/wide/disconnect", {"Container": "box"}))[0] == 200
    (left,) = attachments(cluster)
    assert left.networks == ()
    assert bodies(engines.one, "/networks/orc-wide/disconnect")
    assert bodies(engines.one, "/networks/00-orc-gw/disconnect")
    ended = [each for each in cluster.store.view.attachments if not each.live]
    assert [each.networks[0].target for each in ended] == [wide], "its address rests"
    status, answer = await client.ask("POST", "/networks/wide/disconnect", {"Container": "box"})
    assert (status, "is not connected to network wide" in answer["message"]) == (403, True)


@pytest.mark.parametrize("has_one", [False, True])
async def test_networks_at_once_are_all_noted_and_left(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str, *, has_one: bool
) -> None:
    ids = {wide}
    for number in (6, 7):
        ipam = {"Config": [{"Subnet": f"10.{number}.0.0/16"}]}
        body = {"Name": f"net{number}", "Driver": "overlay", "Attachable": True, "IPAM": ipam}
        ids.add(await client.make("/networks/create", body))
    engines.one.add(A, "box")
    names = ["wide", "net6", "net7"]
    body = {"Container": A}
    if has_one:
        assert (await client.ask("POST", "/networks/wide/connect", body))[0] == 200
    answers = await asyncio.gather(*(client.ask("POST", f"/networks/{name}/connect", body) for name in names[has_one:]))
    assert {status for status, _ in answers} == {200}
    (found,) = attachments(cluster)
    assert {each.target for each in found.networks} == ids
    answers = await asyncio.gather(*(client.ask("POST", f"/networks/{name}/disconnect", body) for name in names))
    assert {status for status, _ in answers} == {200}
    (found,) = attachments(cluster)
    assert found.networks == ()
    assert bodies(engines.one, "/networks/00-orc-gw/disconnect"), "it keeps no way out of the host"


async def test_what_cannot_be_connected(client: Client, engines: Engines, wide: str) -> None:
    engines.one.add(A, "task", Labels={"com.docker.swarm.task.id": "t", "com.docker.swarm.service.name": "web"})
    status, answer = await client.ask("POST", "/networks/wide/connect", {"Container": A})
    assert (status, "docker service update --network-add wide web" in answer["message"]) == (403, True)
    status, answer = await client.ask("POST", "/networks/nowhere/connect", {"Container": A})
    assert (status, answer["message"]) == (404, "network nowhere not found")


async def test_a_network_is_not_removed_while_a_container_is_in_it(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    assert (await create(client, "box"))[0] == 201
    (found,) = attachments(cluster)
    status, answer = await client.ask("DELETE", "/networks/wide")
    assert (status, "in use by container box on node w" in answer["message"]) == (409, True)
    dangling = await client.get('/networks?filters={"dangling":["true"]}')
    assert dangling == []
    engine = engines.one if found.node_id == WORKER1 else engines.two
    engine.containers.clear()  # nobody has told yet
    assert (await client.ask("DELETE", "/networks/wide"))[0] == 204


async def test_a_prune_removes_networks_of_just_removed_containers(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    await create(client, "box")
    (found,) = attachments(cluster)
    engine = engines.one if found.node_id == WORKER1 else engines.two
    assert await client.ask("POST", "/networks/prune") == (200, {"NetworksDeleted": None})
    engine.containers.clear()
    assert await client.ask("POST", '/networks/prune?filters={"label":["other"]}') == (200, {"NetworksDeleted": None})
    assert attachments(cluster), "nobody was asked about a network that stays"
    assert await client.ask("POST", "/networks/prune") == (200, {"NetworksDeleted": ["wide"]})


async def test_containers_are_shown_in_the_clusters_networks(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    name = f"orc-wide-{wide[:5]}"
    networks = {"00-orc-gw": {"IPAddress": "10.240.1.2"}, name: {"IPAddress": "10.5.16.2", "NetworkID": "x"}}
    entry: dict[str, Any] = {"NetworkSettings": {"Networks": networks}, "HostConfig": {"NetworkMode": "00-orc-gw"}}
    engines.one.add(A, "box", **entry)
    (shown,) = await client.get('/containers/json?filters={"network":["wide"]}')
    assert shown["NetworkSettings"]["Networks"] == {"wide": {"IPAddress": "10.5.16.2", "NetworkID": wide}}
    assert shown["HostConfig"]["NetworkMode"] == "wide"
    assert await client.get('/containers/json?filters={"network":["other"]}') == []

    def run(tx: Transaction) -> None:
        ends = (AttachedEnd(network=name, network_id=wide, address="10.5.16.2"),)
        record = NetworkAttachment(id="a1", node_id=WORKER1, name="box", container_id=A)
        tx.put(msgspec.structs.replace(record, status=msgspec.structs.replace(record.status, running=True, ends=ends)))

    await cluster.store.update(run)
    (listed,) = (await client.get("/networks/wide"))["Containers"].items()
    assert (listed[0], listed[1]["Name"]) == (A, "box")


async def test_a_task_of_the_mesh_is_shown_in_the_ingress_network(
    cluster: ApiCluster, client: Client, engines: Engines, wide: str
) -> None:
    """As Docker shows it: what discovers targets by their networks finds tasks that are in no other one."""
    published = PortConfig(target_port=80, published_port=8080, publish_mode="ingress")

    def run(tx: Transaction) -> None:
        tx.put(Task(id="t1", service_id="s1", node_id=WORKER1, ports=(published,)))
        tx.put(Task(id="t2", service_id="s2", node_id=WORKER1))

    await cluster.store.update(run)
    gateway = {"00-orc-gw": {"IPAddress": "10.240.1.2", "NetworkID": "x"}}
    both = {**gateway, f"orc-wide-{wide[:5]}": {"IPAddress": "10.5.16.2"}}
    for full_id, task, networks in ((A, "t1", gateway), (B, "t1", both), (C, "t2", gateway)):
        settings: dict[str, Any] = {
            "NetworkSettings": {"Networks": networks},
            "HostConfig": {"NetworkMode": "00-orc-gw"},
        }
        labels = {"com.docker.swarm.task.id": task}
        engines.one.add(full_id, full_id[:4], **settings, Labels=labels)
        engines.one.answers[f"GET /containers/{full_id}/json"] = (
            200,
            {"Id": full_id, "Name": f"/{full_id[:4]}", "Config": {"Labels": labels}, **settings},
        )
    ingress = (await client.get("/networks/ingress"))["Id"]
    mesh = {"ingress": {"IPAddress": "10.240.1.2", "NetworkID": ingress}}
    expected = {
        A: (mesh, "ingress"),
        B: ({**mesh, "wide": {"IPAddress": "10.5.16.2", "NetworkID": wide}}, "wide"),
        C: ({}, "none"),
    }

    def networks_and_mode(shown: dict[str, Any]) -> tuple[Any, str]:
        return shown["NetworkSettings"]["Networks"], shown["HostConfig"]["NetworkMode"]

    listed = await client.get("/containers/json")
    assert {each["Id"]: networks_and_mode(each) for each in listed} == expected
    for full_id, shown in expected.items():
        assert networks_and_mode(await client.get(f"/containers/{full_id}/json")) == shown
    found = await client.get('/containers/json?filters={"network":["ingress"]}')
    assert {each["Id"] for each in found} == {A, B}


async def test_predefined_networks_have_the_ids_in_the_list(client: Client, engines: Engines) -> None:
    engines.one.add(A, "box", NetworkSettings={"Networks": {"bridge": {"IPAddress": "172.17.0.2", "NetworkID": "x"}}})
    bridge = (await client.get("/networks/bridge"))["Id"]
    (shown,) = await client.get("/containers/json")
    assert shown["NetworkSettings"]["Networks"] == {"bridge": {"IPAddress": "172.17.0.2", "NetworkID": bridge}}
    assert len(await client.get(f'/containers/json?filters={{"network":["{bridge}"]}}')) == 1
