"""What an image's name means in a cluster: what clients made of it, whatever single engines have by it."""

from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest

from common.model import ImageName, Service
from common.model.container import ContainerSpec
from common.model.service import ServiceSpec, TaskSpec
from manager.api.call import Call
from manager.domain.image_use import Needed, needed_images, services_needing
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import MANAGER, WORKER1, WORKER2, ApiCluster
from tests.fakes.image_engine import ImageEngines

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
DIGEST = "sha256:" + "d" * 64


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[ImageEngines]:
    async with ImageEngines(cluster) as engines:
        yield engines


def meaning(cluster: ApiCluster, name: str) -> str:
    record = cluster.store.view.image_names.get(name)
    return record.image_id if record is not None else ""


async def give(cluster: ApiCluster, name: str, image_id: str, **more: Any) -> None:
    """Let a name mean an image, as if a client had made it so."""
    await cluster.store.update(
        lambda tx: tx.put(ImageName(id=name, image_id=image_id, how="build", by="alice", **more))
    )


def service(image: str, before: str = "") -> Service:
    def spec(image: str) -> ServiceSpec:
        return ServiceSpec(name="s", task_template=TaskSpec(container_spec=ContainerSpec(image=image)))

    return Service(id="s" * 25, spec=spec(image), previous_spec=spec(before) if before else None)


# --- how names come to be ---------------------------------------------------------------------------------------------


async def test_a_build_gives_its_names_on_the_managers_own_host(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.own.builds = ONE
    build = Call("POST", "/build", query={"t": "web:1"}, raw_query="t=web:1&t=team/web", caller=ADMIN)
    assert (await client.reply(build))[0] == 200
    made = cluster.store.view.image_names.get("web:1")
    assert made is not None
    assert (made.image_id, made.how, made.by, made.node_id) == (ONE, "build", ADMIN.described, MANAGER)
    assert (made.os, made.architecture, made.size, made.registry) == ("linux", "amd64", 7, False)
    assert meaning(cluster, "team/web:latest") == ONE


async def test_a_failed_build_gives_no_name_even_to_what_is_there(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.own.put(TWO, "web:1")
    status, answer = await client.ask("POST", "/build?t=web:1")
    assert (status, b"oh dear" in answer) == (200, True)
    assert not len(cluster.store.view.image_names)


async def test_a_build_without_a_name_gives_none(client: Client, cluster: ApiCluster, engines: ImageEngines) -> None:
    engines.own.builds = ONE
    assert (await client.ask("POST", "/build"))[0] == 200
    assert not len(cluster.store.view.image_names)


async def test_a_load_gives_the_names_in_the_archive(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    archive = f"{ONE} web:1\n{ONE} web:2\n{TWO}\n".encode()
    assert (await client.ask("POST", "/images/load", archive))[0] == 200
    assert {name.id: name.image_id for name in cluster.store.view.image_names} == {"web:1": ONE, "web:2": ONE}


async def test_an_import_and_a_commit_give_their_name(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    assert (await client.ask("POST", "/images/create?fromSrc=-&repo=base&tag=7", ONE.encode()))[0] == 200
    engines.one.builds = TWO
    engines.one.boxes.add("box")
    assert (await client.ask("POST", "/commit?container=box&repo=saved"))[0] == 201
    names = {name.id: (name.image_id, name.how) for name in cluster.store.view.image_names}
    assert names == {"base:7": (ONE, "import"), "saved:latest": (TWO, "commit")}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("fromImage=nginx&tag=1.27", "nginx:1.27"),
        ("fromImage=docker.io/library/nginx:1.27", "nginx:1.27"),
        (f"fromImage=nginx&tag={DIGEST}", f"nginx@{DIGEST}"),
        (f"fromImage=nginx:1.27&tag={DIGEST}", f"nginx@{DIGEST}"),
    ],
)
async def test_a_pulled_name_is_a_registrys(
    client: Client, cluster: ApiCluster, engines: ImageEngines, query: str, name: str
) -> None:
    engines.own.registry[name] = ONE
    assert (await client.ask("POST", f"/images/create?{query}"))[0] == 200
    made = cluster.store.view.image_names.get(name)
    assert made is not None
    assert (made.image_id, made.how, made.registry) == (ONE, "pull", True)
    assert made.repo_digests == (f"nginx@{DIGEST}",)


async def test_a_pull_that_fails_gives_no_name(client: Client, cluster: ApiCluster, engines: ImageEngines) -> None:
    engines.own.put(ONE, "nginx:1.27")
    assert (await client.ask("POST", "/images/create?fromImage=nginx&tag=1.27"))[0] == 200
    assert not len(cluster.store.view.image_names)


async def test_a_tag_is_given_on_all_nodes_that_hold_the_image(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(ONE, "web:1")
    engines.two.put(ONE)
    engines.own.put(TWO)
    await give(cluster, "web:1", ONE, registry=True, repo_digests=(f"web@{DIGEST}",), os="linux", size=9)
    assert (await client.ask("POST", "/images/web:1/tag?repo=web&tag=stable"))[0] == 201
    made = cluster.store.view.image_names.get("web:stable")
    assert made is not None
    assert (made.image_id, made.how, made.registry, made.repo_digests, made.size) == (ONE, "tag", False, (), 9)
    assert (engines.one.find("web:stable"), engines.two.find("web:stable")) != (None, None)
    assert engines.own.paths("POST") == []


async def test_a_name_of_a_single_node_becomes_the_clusters_by_a_tag(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(ONE, "web:1")
    engines.two.put(TWO, "web:1")
    status, answer = await client.error("POST", "/images/web:1/tag?repo=web&tag=2")
    assert status == 404
    assert "nodes have their own by that name (w1.node/web:1, w2.node/web:1)" in answer
    assert (await client.ask("POST", "/images/w2.node/web:1/tag?repo=web&tag=2"))[0] == 201
    assert meaning(cluster, "web:2") == TWO


@pytest.mark.parametrize(
    "path",
    [
        "/build?t=w1.node/web:1",
        "/images/create?fromImage=w1.node/web&tag=1",
        "/images/create?fromSrc=-&repo=w1.node/web",
        "/commit?container=box&repo=W1.Node/web",
        f"/images/{ONE}/tag?repo=w1.node/web",
    ],
)
async def test_no_client_gives_a_name_of_a_single_nodes(client: Client, engines: ImageEngines, path: str) -> None:
    engines.one.put(ONE)
    status, answer = await client.error("POST", path)
    assert (status, "are those of single nodes" in answer) == (400, True)


async def test_the_builder_is_never_a_drained_node(client: Client, cluster: ApiCluster) -> None:
    async with ImageEngines(cluster, own=False) as engines:
        engines.one.builds = engines.two.builds = ONE
        for node_id, expected in ((WORKER1, [0, 1]), (WORKER2, [0, 1])):
            await cluster.store.update(lambda tx, node_id=node_id: drain(tx, node_id))
            status, _ = await client.ask("POST", "/build?t=web:1")
            assert status == (200 if node_id == WORKER1 else 503)
            assert [len(engine.paths("POST")) for engine in (engines.one, engines.two)] == expected


def drain(tx: Transaction, node_id: str) -> None:
    node = tx.nodes.get(node_id)
    assert node is not None
    tx.put(msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, availability="drain")))


# --- what they mean ---------------------------------------------------------------------------------------------------


SPEC = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}}}


async def image_of(client: Client) -> str:
    return (await client.get("/services/web"))["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]


async def test_a_service_is_pinned_to_what_the_name_means(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(ONE)
    await give(cluster, "web:1", ONE)
    assert await client.ask("POST", "/services/create", SPEC) == (201, {"ID": ANY, "Warnings": None})
    assert await image_of(client) == f"web:1@{ONE}"

    await give(cluster, "web:1", TWO)
    engines.two.put(TWO)
    found = await client.get("/services/web")
    path = "/services/web/update?version={}"
    assert (await client.ask("POST", path.format(found["Version"]["Index"]), found["Spec"]))[0] == 200
    assert await image_of(client) == f"web:1@{ONE}", "what is read can be sent back"

    found = await client.get("/services/web")
    assert (await client.ask("POST", path.format(found["Version"]["Index"]), SPEC))[0] == 200
    assert await image_of(client) == f"web:1@{TWO}"


async def test_unnamed_images_and_a_registrys_stay_unchanged(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    for engine in engines.by_node.values():
        engine.put(ONE, "web:1")
    assert (await client.ask("POST", "/services/create", SPEC))[0] == 201
    assert await image_of(client) == "web:1"
    await give(cluster, "nginx:1", TWO, registry=True)
    spec = {"Name": "nginx", "TaskTemplate": {"ContainerSpec": {"Image": "nginx:1"}}}
    assert (await client.ask("POST", "/services/create", spec))[0] == 201
    found = await client.get("/services/nginx")
    assert found["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "nginx:1"


async def test_a_service_of_an_unheld_image_is_created_with_a_warning(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "web:1", ONE)
    for image in ("web:1", f"web:1@{ONE}"):  # as clients name it that have asked /distribution
        name = f"web{len(image)}"
        spec = {"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": image}}}
        status, answer = await client.ask("POST", "/services/create", spec)
        assert status == 201
        assert f"web:1 is image {ONE} (build by alice" in answer["Warnings"][0]
        found = await client.get(f"/services/{name}")
        path = f"/services/{name}/update?version={found['Version']['Index']}"
        status, answer = await client.ask("POST", path, found["Spec"])
        assert (status, answer["Warnings"]) == (200, None), "it is no news"


@pytest.mark.parametrize("registry", [False, True])
async def test_what_an_image_keeps_where_nothing_is_mounted_is_told(
    client: Client, cluster: ApiCluster, engines: ImageEngines, *, registry: bool
) -> None:
    """Of an image of the cluster's own a node that holds it is asked, else this manager's own host, and only once."""
    engines.own.put(ONE, "db:1").volumes = ("/data",)
    if not registry:
        await give(cluster, "db:1", ONE)
    container: dict[str, object] = {"Image": "db:1"}
    _, answer = await client.ask(
        "POST", "/services/create", {"Name": "a", "TaskTemplate": {"ContainerSpec": container}}
    )
    assert "the image keeps data in /data, where nothing is mounted" in answer["Warnings"][0]
    found = await client.get("/services/a")
    path = f"/services/a/update?version={found['Version']['Index']}"
    assert (await client.ask("POST", path, found["Spec"]))[1]["Warnings"] is None, "it is no news"
    container["Mounts"] = [{"Type": "volume", "Source": "kept", "Target": "/data"}]
    _, answer = await client.ask(
        "POST", "/services/create", {"Name": "b", "TaskTemplate": {"ContainerSpec": container}}
    )
    assert answer["Warnings"] is None


async def test_a_single_nodes_name_is_none_for_services(client: Client, engines: ImageEngines) -> None:
    engines.one.put(ONE, "web:1")
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "w1.node/web:1"}}}
    status, answer = await client.error("POST", "/services/create", spec)
    assert (status, "image adopt" in answer) == (400, True)
    assert (await client.error("GET", "/distribution/w1.node/web:1/json"))[0] == 404
    assert engines.one.asked == []


async def test_distribution_answers_for_the_cluster_without_a_registry(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "web:1", ONE, os="linux", architecture="amd64", size=7)
    for reference in ("web:1", f"web:1@{ONE}"):
        answer = await client.get(f"/distribution/{reference}/json")
        assert answer["Descriptor"]["digest"] == ONE
        assert answer["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    assert engines.own.asked == []


async def test_only_the_managers_own_host_speaks_for_a_registry(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    for engine in (engines.one, engines.two):
        engine.registry["nginx:1.27"] = TWO
    assert (await client.ask("GET", "/distribution/nginx:1.27/json"))[0] == 500
    engines.own.registry["nginx:1.27"] = ONE
    await give(cluster, "nginx:1.27", THREE, registry=True)
    assert (await client.get("/distribution/nginx:1.27/json"))["Descriptor"]["digest"] == DIGEST
    assert engines.one.asked == engines.two.asked == []


async def test_what_is_looked_at_is_what_the_name_means(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(TWO, "web:1")
    engines.two.put(ONE)
    await give(cluster, "web:1", ONE)
    shown = await client.get("/images/web:1/json")
    assert (shown["Id"], shown["RepoTags"]) == (ONE, ["web:1"])
    assert shown["ClusterNames"][0].items() >= {"Name": "web:1", "How": "build", "By": "alice"}.items()
    assert await client.get("/images/web:1/history") == [{"Id": ONE}]
    assert (await client.get("/images/w1.node/web:1/json"))["Id"] == TWO
    for prefix in (ONE, ONE[7:19]):
        assert (await client.get(f"/images/{prefix}/json"))["RepoTags"] == ["web:1"]


async def test_a_node_without_what_it_claims_costs_one_request(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.liars[WORKER1] = ONE
    engines.two.put(ONE)
    await give(cluster, "web:1", ONE)
    assert (await client.get("/images/web:1/json"))["Id"] == ONE
    del engines.two.images[ONE]
    status, answer = await client.ask("GET", "/images/web:1/json")
    assert status == 404, answer


async def test_an_image_that_nobody_holds_says_what_it_was(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "web:1", ONE)
    status, answer = await client.error("GET", "/images/web:1/json")
    assert status == 404
    assert answer.startswith(f"No such image: web:1: it is image {ONE} (build by alice, ")


async def test_an_ambiguous_id_prefix_is_refused_but_names_win(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    ids = ["sha256:abc" + digit * 61 for digit in "12"]
    engines.one.put(ids[0])
    engines.two.put(ids[1])
    status, answer = await client.error("GET", "/images/abc/json")
    assert (status, "beginning of several" in answer) == (400, True)
    assert (await client.get("/images/abc1/json"))["Id"] == ids[0]
    await give(cluster, "web:1", ids[1])
    assert (await client.get("/images/abc/json"))["Id"] == ids[1], "no node's claim makes it unclear"


# --- to registries and archives ---------------------------------------------------------------------------------------


async def test_a_push_goes_from_the_managers_own_host(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.two.put(ONE)
    await give(cluster, "reg.example/web:1", ONE)
    headers = {"x-registry-auth": "eyJ1c2VybmFtZSI6ICJtZSIsICJwYXNzd29yZCI6ICJ4In0="}
    assert (await client.ask("POST", "/images/reg.example/web/push?tag=1", headers=headers))[0] == 200
    assert engines.brought == [(MANAGER, ONE)]
    assert engines.own.registry == {"reg.example/web:1": ONE}
    [pushed] = [each for each in engines.own.asked if each.path.endswith("/push")]
    assert pushed.headers["x-registry-auth"] == headers["x-registry-auth"]
    made = cluster.store.view.image_names.get("reg.example/web:1")
    assert made is not None
    assert (made.how, made.registry, made.image_id) == ("push", True, ONE)
    assert made.repo_digests == (f"reg.example/web@{DIGEST}",)


async def test_a_push_without_a_tag_pushes_all_names_of_the_repository(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.two.put(ONE)
    engines.own.put(TWO)
    await give(cluster, "reg.example/web:1", ONE)
    await give(cluster, "reg.example/web:2", TWO)
    assert (await client.ask("POST", "/images/reg.example/web/push"))[0] == 200
    assert sorted(tag for image in engines.own.images.values() for tag in image.tags) == [
        "reg.example/web:1",
        "reg.example/web:2",
    ]
    assert all(name.registry for name in cluster.store.view.image_names)


@pytest.mark.parametrize("path", ["web:1/push", "web:1/push?tag=1", "web:other/push?tag=1"])
async def test_a_push_may_say_the_tag_in_the_path_too(
    client: Client, cluster: ApiCluster, engines: ImageEngines, path: str
) -> None:
    """The one in the query holds, as for an engine."""
    engines.own.put(ONE)
    engines.own.put(TWO)
    await give(cluster, "reg.example:5000/web:1", ONE)
    await give(cluster, "reg.example:5000/web:2", TWO)
    assert (await client.ask("POST", f"/images/reg.example:5000/{path}"))[0] == 200
    assert engines.own.images[ONE].tags == ["reg.example:5000/web:1"]
    assert engines.own.images[TWO].tags == [], "it was not asked for"


async def test_a_push_does_not_take_the_name_of_a_hosts_other_image(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.own.put(TWO, "web:1")
    engines.own.put(ONE)
    await give(cluster, "web:1", ONE)
    status, answer = await client.error("POST", "/images/web/push?tag=1")
    assert (status, "means another image by web:1" in answer) == (409, True)


async def test_what_is_saved_has_its_name(client: Client, cluster: ApiCluster, engines: ImageEngines) -> None:
    engines.two.put(ONE)
    engines.two.put(TWO, "mine:1")
    await give(cluster, "web:1", ONE)
    assert await client.ask("GET", "/images/web:1/get") == (200, b"archive of web:1")
    assert engines.two.find("web:1") is engines.two.images[ONE]
    assert (await client.ask("GET", f"/images/{ONE}/get"))[1] == f"archive of {ONE}".encode()
    await give(cluster, "web:2", TWO)
    assert await client.ask("GET", "/images/web/get") == (200, b"archive of web:1 web:2"), "as an engine, all tags"
    several = Call("GET", "/images/get", raw_query="names=web:1&names=w2.node/mine:1", caller=ADMIN)
    assert await client.reply(several) == (200, b"archive of web:1 mine:1")


# --- credentials ------------------------------------------------------------------------------------------------------


async def test_no_worker_but_the_managers_own_is_told_credentials(client: Client, cluster: ApiCluster) -> None:
    secret = {"x-registry-auth": "eyJ1c2VybmFtZSI6ICJtZSJ9", "x-registry-config": "e30="}
    async with ImageEngines(cluster, own=False) as engines:
        for engine in (engines.one, engines.two):
            engine.builds = ONE
            engine.registry["nginx:1.27"] = ONE
        assert (await client.ask("POST", "/images/create?fromImage=nginx&tag=1.27", headers=secret))[0] == 200
        assert (await client.ask("POST", "/build?t=web:1", headers=secret))[0] == 200
        status, answer = await client.error("POST", "/images/web/push?tag=1", headers=secret)
        assert (status, "manager's own host" in answer) == (409, True)
        assert (await client.ask("POST", "/images/web/push?tag=1", headers={"x-registry-auth": "e30="}))[0] == 200
        assert (await client.error("POST", "/auth", {"username": "me"}))[0] == 503
        assert (await client.error("GET", "/distribution/nginx:1.28/json", headers=secret))[0] == 503
        asked = [*engines.one.asked, *engines.two.asked]
        assert {each.path for each in asked} >= {"/images/create", "/build", "/images/web/push"}
        assert not any(secret.keys() & each.headers.keys() for each in asked)


# --- what is needed ---------------------------------------------------------------------------------------------------


async def test_what_services_name_is_needed_by_id_digest_or_name(cluster: ApiCluster) -> None:
    await cluster.store.update(lambda tx: tx.put(service(f"web:1@{ONE}", before=f"reg.example/db:2@{DIGEST}")))
    kept = needed_images(cluster.store.view)
    assert kept == Needed(frozenset({ONE, DIGEST}), frozenset())
    assert kept.has({"Id": ONE})
    assert kept.has({"Id": TWO, "RepoDigests": [f"reg.example/db@{DIGEST}"]})
    assert not kept.has({"Id": TWO, "RepoTags": ["web:1"]})
    assert services_needing(cluster.store.view, ONE) == ["s"]
    assert Needed(frozenset(), frozenset({"web:latest"})).has({"Id": TWO, "RepoTags": ["web:latest"]})
