"""A container's image is shown by the name that it was asked for by."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.model import ImageName, Task
from manager.api.containers.image import IMAGE_LABEL, as_image_ids, with_image, with_image_id
from manager.api.logs.stream import TASK_LABEL
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.image_engine import ImageEngines
from tests.fakes.world import World, template

ID = "sha256:" + "a" * 64


def world() -> World:
    found = World()
    found.put(ImageName(id="local:1", image_id=ID), Task(id="t", spec=template("web:1")))
    return found


def test_a_tasks_container_has_its_tasks_image() -> None:
    shown = {"Image": ID, "Labels": {TASK_LABEL: "t", IMAGE_LABEL: "other"}}
    assert with_image(world().tables, shown)["Image"] == "web:1"


def test_a_plain_container_has_what_its_label_says() -> None:
    assert with_image(world().tables, {"Image": ID, "Labels": {IMAGE_LABEL: "local:1"}})["Image"] == "local:1"


def test_what_has_a_name_or_no_label_stays() -> None:
    for shown in ({"Image": "web:2", "Labels": {IMAGE_LABEL: "x"}}, {"Image": ID, "Labels": None}, {}):
        assert with_image(world().tables, shown) is shown


def test_an_engine_is_given_the_id_and_the_name_in_a_label() -> None:
    body = {"image": "local:1", "Labels": {"a": "b"}, "Tty": True}
    assert with_image_id(body, ID, "local:1") == {
        "Image": ID,
        "Labels": {"a": "b", IMAGE_LABEL: "local:1"},
        "Tty": True,
    }


def test_a_filter_has_ids_where_only_the_cluster_knows_a_name() -> None:
    assert as_image_ids(world().tables, ["web:1", "local:1"]) == [ID, "web:1"]


ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")
DIGEST = "sha256:" + "d" * 64


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[ImageEngines]:
    async with ImageEngines(cluster, own=False) as engines:
        yield engines


async def give(cluster: ApiCluster, name: str, image_id: str, *, registry: bool = False) -> None:
    await cluster.store.update(lambda tx: tx.put(ImageName(id=name, image_id=image_id, how="build", registry=registry)))


async def create(client: Client, image: str, node: str = "") -> tuple[int, Any]:
    labels = {"swarm.x.constraint": f"node.hostname=={node}"} if node else {}
    return await client.ask("POST", "/containers/create", {"Image": image, "Labels": labels})


def made(engines: ImageEngines) -> list[tuple[str, str]]:
    """Return of what containers were made, with the node's mark."""
    marks = (("1", engines.one), ("2", engines.two))
    bodies = [(mark, json.loads(a.body)) for mark, e in marks for a in e.asked if a.path == "/containers/create"]
    return [(mark, body["Image"]) for mark, body in bodies]


async def test_a_name_of_the_clusters_goes_where_its_image_is(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "web:1", ONE)
    engines.one.put(TWO, "web:1")
    engines.two.put(ONE)
    for _ in range(3):
        assert (await create(client, "web:1"))[0] == 201
    assert made(engines) == [("2", ONE)] * 3, "by its id, as the engine there does not know the name"


async def test_a_node_with_another_image_of_the_name_fetches_the_right(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "web:1", ONE)
    engines.one.put(TWO, "web:1")
    engines.two.put(ONE, "web:1", labels={"com.docker.swarm.task": "t"})
    assert (await create(client, "web:1", "w1"))[0] == 201
    assert engines.brought == [(WORKER1, ONE)]
    assert (await create(client, "web:1", "w2"))[0] == 201
    assert made(engines) == [("1", ONE), ("2", "web:1")]
    body = json.loads(engines.two.asked[-1].body)
    assert body["Labels"]["com.docker.swarm.task"] == "", "what the image would bring is blanked"


async def test_an_image_nobody_holds_is_not_pulled_from_a_stranger(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "web:1", ONE)
    status, answer = await create(client, "web:1")
    assert (status, f"web:1 is image {ONE}" in answer["message"]) == (503, True)


async def test_a_node_that_only_claims_to_hold_an_image_fetches_it(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "web:1", ONE)
    engines.liars[WORKER1] = ONE
    engines.two.put(ONE)
    assert (await create(client, "web:1", "w1"))[0] == 201
    assert engines.brought == [(WORKER1, ONE)]


async def test_a_registrys_image_is_pulled_where_it_is_not(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    await give(cluster, "nginx:1", ONE, registry=True)
    engines.two.put(ONE, "nginx:1")
    assert (await create(client, "nginx:1"))[0] == 201
    engines.one.registry["nginx:1"] = ONE
    assert (await create(client, "nginx:1", "w1"))[0] == 201
    assert made(engines) == [("1", "nginx:1"), ("2", "nginx:1")]
    assert engines.brought == []


async def test_a_registrys_image_that_a_node_cannot_pull_is_fetched(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    """Pulled with a client's credentials, for example, which no other node is told."""
    await give(cluster, "nginx:1", ONE, registry=True)
    engines.two.put(ONE, "nginx:1")
    assert (await create(client, "nginx:1", "w1"))[0] == 201
    assert (made(engines), engines.brought) == ([("1", ONE)], [(WORKER1, ONE)])
    del engines.one.images[ONE], engines.two.images[ONE]
    status, answer = await create(client, "nginx:1", "w1")
    assert status == 404
    assert "on node w1, which can neither pull it (no nginx:1) nor fetch it: " in answer["message"]


async def test_a_pull_after_a_404_lets_a_container_be_made_anywhere(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    for reference, tag in (("busybox:1", "1"), (f"busybox@{DIGEST}", DIGEST)):
        engines.one.registry[reference] = ONE
        assert (await create(client, reference, "w2"))[0] == 404
        assert (await client.ask("POST", f"/images/create?fromImage=busybox&tag={tag}"))[0] == 200
        assert (await create(client, reference, "w2"))[0] == 201
    assert engines.brought == [(WORKER2, ONE)]


async def test_an_id_or_its_beginning_is_fetched_where_it_is_not(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.two.put(ONE)
    for reference in (ONE, ONE[7:19], f"web:1@{ONE}"):
        assert (await create(client, reference, "w1"))[0] == 201
        del engines.one.images[ONE]
    assert [image for _, image in made(engines)] == [ONE] * 3
    assert (await create(client, TWO))[0] == 404


async def test_a_digest_that_a_node_falsely_claims_is_still_pulled(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.liars[WORKER1] = DIGEST
    status, answer = await create(client, f"nginx@{DIGEST}", "w2")
    assert (status, answer["message"][:14]) == (404, "No such image:")


async def test_a_single_nodes_own_name_makes_a_container_there(
    client: Client, cluster: ApiCluster, engines: ImageEngines
) -> None:
    engines.one.put(ONE, "web:1")
    engines.two.put(TWO, "web:1")
    assert (await create(client, "w2.node/web:1"))[0] == 201
    assert made(engines) == [("2", TWO)]
    assert (await create(client, "w2.node/web:1", "w1"))[0] == 409
    assert (await create(client, "w2.node/web:2"))[0] == 404
