"""What clients may call an object: its id, its name, or the beginning of its id where no other begins so."""

import random
from collections.abc import Callable

import pytest

from common.errors import InvalidArgument
from common.model import Config, Network, Node, Secret, Service, StoredObject, Task
from common.model.network import NetworkSpec
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import ServiceSpec
from manager.api.lookup import check_dns_name, check_file_name, random_name
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster

MAKE: dict[str, Callable[[str], StoredObject]] = {
    "services": lambda object_id: Service(id=object_id, spec=ServiceSpec(name=f"of {object_id}")),
    "nodes": lambda object_id: Node(id=object_id),
    "tasks": lambda object_id: Task(id=object_id),
    "secrets": lambda object_id: Secret(id=object_id, spec=SecretSpec(name=f"of {object_id}")),
    "configs": lambda object_id: Config(id=object_id, spec=ConfigSpec(name=f"of {object_id}")),
    "networks": lambda object_id: Network(id=object_id, spec=NetworkSpec(name=f"of {object_id}")),
}
ONE, OTHER = "abc1".ljust(25, "x"), "abc2".ljust(25, "x")


async def put(cluster: ApiCluster, resource: str) -> None:
    def both(tx: Transaction) -> None:
        for object_id in (ONE, OTHER):
            tx.put(MAKE[resource](object_id))

    await cluster.store.update(both)


@pytest.mark.parametrize("resource", MAKE)
async def test_a_prefix_of_several_ids_is_ambiguous(client: Client, cluster: ApiCluster, resource: str) -> None:
    await put(cluster, resource)
    noun, how = resource.removesuffix("s"), " based on ID prefix" if resource == "networks" else ""
    expected = (400, f"{noun} abc is ambiguous (2 matches found{how})")
    assert await client.error("GET", f"/{resource}/abc") == expected
    if resource not in ("tasks", "nodes"):
        assert await client.error("DELETE", f"/{resource}/abc") == expected
    found = await client.get(f"/{resource}/abc2")
    assert (found.get("ID") or found["Id"]) == OTHER
    assert await client.error("GET", f"/{resource}/abc3") == (404, f"{noun} abc3 not found")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/services/create",
            {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "x"}, "Networks": [{"Target": "abc"}]}},
        ),
        ("/containers/create", {"Image": "x", "HostConfig": {"NetworkMode": "abc"}}),
    ],
)
async def test_what_joins_a_network_must_say_which(
    client: Client, cluster: ApiCluster, path: str, body: object
) -> None:
    await put(cluster, "networks")
    assert await client.error("POST", path, body) == (
        400,
        "network abc is ambiguous (2 matches found based on ID prefix)",
    )


async def test_a_name_comes_before_the_beginning_of_an_id(client: Client, cluster: ApiCluster) -> None:
    await put(cluster, "networks")
    named = Network(id="z" * 25, spec=NetworkSpec(name="abc"))
    await cluster.store.update(lambda tx: tx.put(named))
    assert (await client.get("/networks/abc"))["Id"] == named.id


@pytest.mark.parametrize("name", ["a", "web-1", "Shop_web", "9", "a" * 63])
def test_services_and_networks_can_be_called_so(name: str) -> None:
    check_dns_name(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "must be provided"),
        ("a.b", "DNS name component"),
        ("-a", "DNS name component"),
        ("a-", "DNS name component"),
        ("a\n", "DNS name component"),
        ("é", "DNS name component"),
        ("a" * 64, "63 characters or fewer"),
    ],
)
def test_services_and_networks_cannot_be_called_so(name: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_dns_name(name)


def test_files_may_have_dots() -> None:
    check_file_name("site.conf")
    for name in ("", ".conf", "a/b", "a" * 65):
        with pytest.raises(InvalidArgument):
            check_file_name(name)


def test_a_made_up_name_is_one_that_a_service_can_have() -> None:
    for seed in range(50):
        check_dns_name(random_name(random.Random(seed)))
