"""Names taken away, images removed and pruned, adopted names: what becomes of the cluster's names."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from common.model import ImageName, Service
from common.model.container import ContainerSpec
from common.model.service import ServiceSpec, TaskSpec
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import MANAGER, WORKER1, WORKER2, ApiCluster
from tests.fakes.image_engine import ImageEngines

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[ImageEngines]:
    async with ImageEngines(cluster) as engines:
        yield engines


async def give(cluster: ApiCluster, image_id: str, *names: str) -> None:
    def write(tx: Transaction) -> None:
        for name in names:
            tx.put(ImageName(id=name, image_id=image_id, how="build", by="alice"))

    await cluster.store.update(write)


async def use(cluster: ApiCluster, image: str) -> None:
    spec = ServiceSpec(name="shop", task_template=TaskSpec(container_spec=ContainerSpec(image=image)))
    await cluster.store.update(lambda tx: tx.put(Service(id="s" * 25, spec=spec)))


def names(cluster: ApiCluster) -> dict[str, str]:
    return {name.id: name.image_id for name in cluster.store.view.image_names}


# --- removing ---------------------------------------------------------------------------------------------------------


async def test_a_name_goes_from_the_cluster_and_nodes_that_agree_on_it(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1", "web:2")
    engines.own.put(ONE, "web:1", "web:2")
    engines.one.put(TWO, "web:1")
    engines.one.put(ONE)
    status, removed = await client.ask("DELETE", "/images/web:1")
    assert (status, removed) == (200, [{"Untagged": "web:1"}])
    assert names(cluster) == {"web:2": ONE}
    assert engines.own.images[ONE].tags == ["web:2"]
    assert engines.one.images[TWO].tags == ["web:1"], "it is that node's own"
    assert ONE in engines.one.images


async def test_the_last_name_takes_the_image_but_not_what_nodes_named(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    engines.own.put(ONE, "web:1")
    engines.one.put(ONE)
    engines.two.put(ONE, "mine:1")
    status, removed = await client.ask("DELETE", "/images/web:1")
    assert (status, removed) == (200, [{"Untagged": "web:1"}, {"Deleted": ONE}])
    assert names(cluster) == {}
    assert [ONE in engine.images for engine in (engines.own, engines.one, engines.two)] == [False, False, True]


async def test_a_name_of_an_image_that_nobody_holds_can_be_removed(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    assert await client.ask("DELETE", "/images/web:1") == (200, [{"Untagged": "web:1"}])
    assert names(cluster) == {}


async def test_an_image_in_use_keeps_its_name_unless_it_is_forced(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    engines.own.put(ONE, "web:1").used = True
    assert await client.error("DELETE", "/images/web:1") == (409, "conflict: a container is using it")
    assert names(cluster) == {"web:1": ONE}
    assert (await client.ask("DELETE", "/images/web:1?force=1"))[0] == 200
    assert names(cluster) == {}


async def test_an_image_of_one_repository_can_be_removed_by_its_id(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1", "shop:1")
    engines.own.put(ONE)
    status, answer = await client.error("DELETE", f"/images/{ONE}")
    assert (status, "image is referenced in multiple repositories: shop:1, web:1" in answer) == (409, True)
    status, removed = await client.ask("DELETE", f"/images/{ONE}?force=1")
    assert (status, removed) == (200, [{"Untagged": "shop:1"}, {"Untagged": "web:1"}, {"Deleted": ONE}])
    assert names(cluster) == {}


async def test_a_services_image_stays_unless_otherwise_named_or_forced(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1", "web:2")
    await use(cluster, f"web:1@{ONE}")
    engines.own.put(ONE, "web:1", "web:2")
    assert (await client.ask("DELETE", "/images/web:1"))[0] == 200
    for reference in ("web:2", ONE):
        status, answer = await client.error("DELETE", f"/images/{reference}")
        assert (status, "service shop uses its image" in answer) == (409, True)
    assert (await client.ask("DELETE", "/images/web:2?force=1"))[0] == 200
    assert names(cluster) == {}


async def test_a_single_nodes_name_is_removed_there_alone(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(ONE, "web:1")
    engines.two.put(ONE, "web:1")
    assert (await client.ask("DELETE", "/images/w2.node/web:1"))[0] == 200
    assert (ONE in engines.one.images, ONE in engines.two.images) == (True, False)


# --- pruning ----------------------------------------------------------------------------------------------------------


async def test_pruning_leaves_what_has_a_name_in_the_cluster(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    engines.one.put(ONE)
    engines.one.put(TWO)
    engines.two.put(THREE, "mine:1")
    status, answer = await client.ask("POST", "/images/prune")
    assert (status, answer["ImagesDeleted"]) == (200, [{"Deleted": TWO}])
    assert engines.one.images.keys() == {ONE}


async def test_pruning_all_takes_the_names_of_what_no_node_keeps(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    await give(cluster, TWO, "used:1")
    await give(cluster, THREE, "needed:1")
    four = "sha256:" + "4" * 64
    await give(cluster, four, "lost:1")
    await use(cluster, f"needed:1@{THREE}")
    engines.own.put(ONE, "web:1")
    engines.one.put(ONE)
    engines.own.put(TWO, "used:1")
    engines.two.put(TWO).used = True
    engines.two.put(THREE)
    status, answer = await client.ask("POST", '/images/prune?filters={"dangling":["false"]}')
    assert status == 200
    removed = {(what, which) for each in answer["ImagesDeleted"] for what, which in each.items()}
    assert removed == {("Untagged", "web:1"), ("Deleted", ONE), ("Untagged", "used:1"), ("Deleted", TWO)}
    assert answer["SpaceReclaimed"] == 15
    assert names(cluster) == {"used:1": TWO, "needed:1": THREE}


async def test_pruning_by_a_label_says_nothing_of_what_no_node_holds(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    assert (await client.ask("POST", '/images/prune?filters={"dangling":["false"],"label":["a"]}'))[0] == 200
    assert names(cluster) == {"web:1": ONE}


# --- listing ----------------------------------------------------------------------------------------------------------


async def test_the_list_has_names_that_engines_do_not_know(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    await give(cluster, TWO, "lost:1")
    engines.one.put(ONE)
    engines.two.put(THREE, "web:1")
    listed = {each["Id"]: each["RepoTags"] for each in await client.get("/images/json")}
    assert listed == {ONE: ["web:1"], TWO: ["lost:1"], THREE: ["w2.node/web:1"]}
    for filters, expected in (
        ('{"reference":["web"]}', {ONE}),
        ('{"reference":["*/web"]}', {THREE}),
        ('{"dangling":["true"]}', set()),
    ):
        listed = await client.get(f"/images/json?filters={filters}")
        assert {each["Id"] for each in listed} == expected
    usage = await client.get("/system/df")
    assert {each["Id"]: each["RepoTags"] for each in usage["Images"]} == {ONE: ["web:1"], THREE: ["w2.node/web:1"]}


# --- adopting ---------------------------------------------------------------------------------------------------------


async def adopt(client: Client, node: str = "w1", **body: object) -> tuple[int, object]:
    return await client.ask("POST", f"/nodes/{node}/images/adopt", body)


async def test_an_adopted_name_means_what_the_node_has(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(ONE, "web:1")
    engines.two.put(TWO, "web:1")
    status, answer = await adopt(client, Name="web:1")
    assert (status, answer) == (200, {"Adopted": [{"Name": "web:1", "ID": ONE, "Registry": False}], "Refused": None})
    assert (await adopt(client, "w2", Name="web:1", NewName="team/web:2"))[0] == 200
    assert names(cluster) == {"web:1": ONE, "team/web:2": TWO}
    record = cluster.store.view.image_names.get("web:1")
    assert record is not None
    assert (record.how, record.node_id) == ("adopt", WORKER1)


async def test_a_name_that_is_taken_is_adopted_by_force_alone(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1")
    engines.one.put(TWO, "web:1")
    status, answer = await client.error("POST", "/nodes/w1/images/adopt", {"Name": "web:1"})
    assert (status, f"it is image {ONE} (build by alice" in answer, TWO in answer) == (409, True, True)
    assert (await adopt(client, Name="web:1", Force=True))[0] == 200
    assert names(cluster) == {"web:1": TWO}


async def test_all_names_of_a_node_are_adopted_but_those_taken(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, ONE, "web:1", "web:2")
    engines.one.put(TWO, "web:1", "db:1")
    engines.one.put(ONE, "web:2")
    engines.one.put(THREE, "nginx:1", digests=[f"nginx@sha256:{'d' * 64}"])
    status, answer = await adopt(client, All=True)
    assert status == 200
    assert [(each["Name"], each["Registry"]) for each in answer["Adopted"]] == [
        ("db:1", False), ("nginx:1", True), ("web:2", False),
    ]  # fmt: skip
    assert [each["Name"] for each in answer["Refused"]] == ["web:1"]
    record = cluster.store.view.image_names.get("web:2")
    assert record is not None
    assert record.how == "build", "what is known already stays as it is known"


async def test_containerds_engines_do_not_tell_whose_an_image_is(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(ONE, "web:1", digests=[f"web@{ONE}"])
    _, answer = await adopt(client, Name="web:1")
    assert answer == {"Adopted": [{"Name": "web:1", "ID": ONE, "Registry": False}], "Refused": None}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Name": "gone:1"}, 404, "No such image: gone:1 on node w1"),
        ({"Name": "WEB"}, 400, "not an image name"),
        ({"Name": f"web@{ONE}"}, 400, "not an image name"),
        ({"Name": "web:1", "NewName": "w1.node/web:1"}, 400, "single nodes"),
        ({"Name": "web:1", "All": True}, 400, "name one image, or all"),
        ({}, 400, "name one image, or all"),
    ],
)
async def test_what_cannot_be_adopted(
    client: Client, engines: ImageEngines, body: dict[str, object], status: int, words: str
) -> None:
    engines.one.put(ONE, "web:1")
    found, answer = await client.error("POST", "/nodes/w1/images/adopt", body)
    assert (found, words in answer) == (status, True), answer


@pytest.mark.parametrize(("change", "words"), [("drain", "w1 is drained"), ("down", "w1 is down")])
async def test_only_a_node_that_is_ready_and_active_is_believed(
    client: Client, cluster: ApiCluster, engines: ImageEngines, change: str, words: str
) -> None:
    engines.one.put(ONE, "web:1")
    engines.own.put(ONE, "web:1")

    def write(tx: Transaction) -> None:
        for node_id in (WORKER1, MANAGER):
            node = tx.nodes.get(node_id)
            assert node is not None
            if change == "drain":
                node = msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, availability="drain"))
            elif node_id == WORKER1:
                node = msgspec.structs.replace(node, status=msgspec.structs.replace(node.status, state="down"))
            tx.put(node)

    await cluster.store.update(write)
    status, answer = await client.error("POST", "/nodes/w1/images/adopt", {"Name": "web:1"})
    assert (status, words in answer) == (400, True)
    assert (await client.error("POST", "/nodes/w9/images/adopt", {"Name": "web:1"}))[0] == 404
    assert (await adopt(client, "m1", Name="web:1"))[0] == 200, "the manager's own host is as good as the manager"
    assert WORKER2 not in {record.node_id for record in cluster.store.view.image_names}
