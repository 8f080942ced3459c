"""What an image's name means in a cluster, and what of images is needed."""

import pytest

from common.imagenames import pin, pinned_id, repository
from common.model import Service
from common.model.container import ContainerSpec
from common.model.service import ServiceSpec, TaskSpec
from common.wire.image_messages import ImageSeen
from manager.api.errors import EngineError
from manager.api.images_find import choose
from manager.api.images_list import merge
from manager.state.imageuse import Needed, needed, services_needing
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster

ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")


def seen(image_id: str, tagged_at: float = 1.0, *digests: str) -> ImageSeen:
    return ImageSeen(
        image_id=image_id, tagged_at=tagged_at, repo_digests=digests, size=7, os="linux", architecture="amd64"
    )


@pytest.mark.parametrize(
    ("reference", "pinned", "name"),
    [
        ("web", f"web:latest@{ONE}", "web"),
        ("web:1", f"web:1@{ONE}", "web"),
        ("reg.example:5000/team/web", f"reg.example:5000/team/web:latest@{ONE}", "reg.example:5000/team/web"),
        ("docker.io/library/web:1", f"docker.io/library/web:1@{ONE}", "web"),
        (TWO, ONE, "sha256"),
    ],
)
def test_a_name_is_pinned_as_with_a_digest(reference: str, pinned: str, name: str) -> None:
    assert pin(reference, ONE) == pinned
    assert pinned_id(pinned) == ONE
    assert repository(reference) == name


@pytest.mark.parametrize("reference", ["web", "web:1", "web@sha256:12", "web:1@sha512:" + "a" * 128])
def test_what_names_no_id_is_not_pinned(reference: str) -> None:
    assert pinned_id(reference) == ""


def test_a_name_means_what_it_was_given_to_last() -> None:
    located = choose("web:1", {"a": seen(ONE, 5.0), "b": seen(TWO, 9.0), "c": seen(TWO, 7.0)})
    assert located is not None
    assert (located.image_id, located.nodes) == (TWO, ("b", "c"))
    assert choose("web:1", {}) is None


def test_a_prefix_of_several_ids_is_no_name() -> None:
    ids = ["sha256:abc" + digit * 61 for digit in "12"]
    with pytest.raises(EngineError, match="beginning of several"):
        choose("abc", {"a": seen(ids[0]), "b": seen(ids[1])})
    assert choose("abc1", {"a": seen(ids[0])}) is not None


def entry(image_id: str, *tags: str, created: int = 1, containers: int = -1, digests: tuple[str, ...] = ()) -> dict:
    return {
        "Id": image_id, "RepoTags": list(tags), "RepoDigests": list(digests), "Created": created,
        "Containers": containers, "Size": 10,
    }  # fmt: skip


def test_lists_of_nodes_are_one_list_an_entry_an_id() -> None:
    merged = merge(
        {
            "a": [entry(ONE, "web:1", created=1, containers=2), entry(TWO, "db:1", created=5)],
            "b": [entry(ONE, created=1, containers=1, digests=("web@sha256:5",))],
        },
        {},
    )
    assert [(each["Id"], each["RepoTags"], each["Containers"]) for each in merged] == [
        (TWO, ["db:1"], -1),
        (ONE, ["web:1"], 3),
    ]
    assert merged[1]["RepoDigests"] == ["web@sha256:5"]


def test_a_name_that_moved_is_shown_where_it_is_now() -> None:
    merged = merge({"a": [entry(ONE, "web:1")], "b": [entry(TWO, "web:1")]}, {"web:1": TWO})
    assert {each["Id"]: each["RepoTags"] for each in merged} == {ONE: [], TWO: ["web:1"]}


def test_an_old_engines_none_is_shown_only_where_no_node_knows_a_name() -> None:
    def none(image_id: str) -> dict:
        return entry(image_id, "<none>:<none>", digests=("<none>@<none>",))

    merged = merge({"a": [none(ONE), none(TWO)], "b": [entry(ONE, "web:1")], "c": [none(ONE)]}, {})
    names = {each["Id"]: (each["RepoTags"], each["RepoDigests"]) for each in merged}
    assert names == {ONE: (["web:1"], []), TWO: (["<none>:<none>"], ["<none>@<none>"])}


def service(image: str, before: str = "") -> Service:
    def spec(image: str) -> ServiceSpec:
        return ServiceSpec(name="s", task_template=TaskSpec(container_spec=ContainerSpec(image=image)))

    return Service(id="s" * 25, spec=spec(image), previous_spec=spec(before) if before else None)


async def test_what_services_name_is_needed_by_id_digest_or_name(cluster: ApiCluster) -> None:
    digest = "sha256:" + "d" * 64
    await cluster.store.update(lambda tx: tx.put(service(f"web:1@{ONE}", before=f"reg.example/db:2@{digest}")))
    kept = needed(cluster.store.view)
    assert kept == Needed(frozenset({ONE, digest}), frozenset())
    assert kept.has(entry(ONE))
    assert kept.has(entry(TWO, digests=(f"reg.example/db@{digest}",)))
    assert not kept.has(entry(TWO, "web:1"))
    assert services_needing(cluster.store.view, ONE) == ["s"]
    assert Needed(frozenset(), frozenset({"web:latest"})).has(entry(TWO, "web:latest"))


SPEC = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}}}


async def image_of(client: Client) -> str:
    return (await client.get("/services/web"))["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]


async def test_a_services_image_is_pinned_when_only_the_cluster_has_it(client: Client, cluster: ApiCluster) -> None:
    cluster.engines.images["web:1"] = {WORKER2: seen(ONE)}
    assert (await client.ask("POST", "/services/create", SPEC))[0] in (200, 201)
    assert await image_of(client) == f"web:1@{ONE}"

    cluster.engines.images["web:1"] = {WORKER1: seen(TWO, 9.0), WORKER2: seen(ONE)}
    found = await client.get("/services/web")
    assert (await client.ask("POST", f"/services/web/update?version={found['Version']['Index']}", found["Spec"]))[
        0
    ] == 200
    assert await image_of(client) == f"web:1@{ONE}"  # what is read can be sent back

    found = await client.get("/services/web")
    assert (await client.ask("POST", f"/services/web/update?version={found['Version']['Index']}", SPEC))[0] in (
        200,
        201,
    )
    assert await image_of(client) == f"web:1@{TWO}"


async def test_an_image_of_a_registry_stays_its_own_business(client: Client, cluster: ApiCluster) -> None:
    cluster.engines.images["web:1"] = {WORKER1: seen(ONE, 1.0, "web@sha256:" + "9" * 64)}
    assert (await client.ask("POST", "/services/create", SPEC))[0] in (200, 201)
    assert await image_of(client) == "web:1"


async def test_another_name_of_a_registrys_image_is_the_clusters(client: Client, cluster: ApiCluster) -> None:
    cluster.engines.images["web:1"] = {WORKER1: seen(ONE, 1.0, "nginx@sha256:" + "9" * 64)}
    assert (await client.ask("POST", "/services/create", SPEC))[0] in (200, 201)
    assert await image_of(client) == f"web:1@{ONE}"


async def test_distribution_answers_for_the_cluster_without_asking_a_registry(
    client: Client, cluster: ApiCluster
) -> None:
    cluster.engines.images["web:1"] = {WORKER1: seen(ONE)}
    answer = await client.get("/distribution/web:1/json")
    assert answer["Descriptor"]["digest"] == ONE
    assert answer["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    assert (await client.get("/distribution/busybox:1/json"))["Descriptor"]["digest"] != ONE


# --- engines with containerd's image store: each image looks as if a registry had it ----------------------------------


async def test_an_image_of_which_an_engine_does_not_tell_is_pinned_when_no_registry_has_it(
    client: Client, cluster: ApiCluster
) -> None:
    cluster.engines.images["web:1"] = {WORKER1: seen(ONE, 1.0, f"web@{ONE}")}
    assert (await client.ask("POST", "/services/create", SPEC))[0] in (200, 201)
    assert await image_of(client) == f"web:1@{ONE}"


async def test_one_that_a_registry_has_stays_its_business(client: Client, cluster: ApiCluster) -> None:
    """The fake engines' registry has busybox and nothing else."""
    cluster.engines.images["busybox:1"] = {WORKER1: seen(ONE, 1.0, f"busybox@{ONE}")}
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "busybox:1"}}}
    assert (await client.ask("POST", "/services/create", spec))[0] in (200, 201)
    assert await image_of(client) == "busybox:1"
    assert (await client.get("/distribution/busybox:1/json"))["Descriptor"]["digest"] != ONE


async def test_distribution_asks_the_registry_before_it_answers_for_an_engine_that_does_not_tell(
    client: Client, cluster: ApiCluster
) -> None:
    assert (await client.ask("GET", "/distribution/web:1/json"))[0] == 500
    cluster.engines.images["web:1"] = {WORKER1: seen(ONE, 1.0, f"web@{ONE}")}
    assert (await client.get("/distribution/web:1/json"))["Descriptor"]["digest"] == ONE
