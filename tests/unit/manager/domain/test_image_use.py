"""Which images services need, and what their names mean."""

from msgspec.structs import replace

from common.model import ImageName, Task, TaskState, TaskStatus
from manager.domain.image_use import (
    image_record,
    needed_images,
    of_the_cluster,
    pinned_references,
    services_needing,
)
from tests.fakes.world import World, template

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
PINNED = f"web:1@{DIGEST}"


def test_a_pinned_image_is_needed_by_its_digest_and_not_its_name() -> None:
    world = World()
    world.replicated(1, template(PINNED))
    needed = needed_images(world.tables)
    assert needed.has({"Id": DIGEST})
    assert needed.has({"Id": "x", "RepoDigests": [f"web@{DIGEST}"]})
    assert not needed.has({"Id": OTHER, "RepoTags": ["web:1"]})


def test_an_image_that_is_not_pinned_is_needed_by_its_name() -> None:
    world = World()
    world.replicated(1, template("web"))
    assert needed_images(world.tables).has({"Id": OTHER, "RepoTags": ["web:latest"]})
    assert not needed_images(world.tables).has({"Id": OTHER, "RepoTags": ["web:2"], "RepoDigests": None})


def test_the_specification_before_and_running_tasks_need_theirs() -> None:
    world = World()
    world.replicated(1, template("web:1"))
    world.change(template("web:2"))
    world.put(Task(id="t", spec=template("web:0"), status=TaskStatus(state=TaskState.RUNNING)))
    world.put(Task(id="u", spec=template("web:old"), status=TaskStatus(state=TaskState.FAILED)))
    tags = [[f"web:{tag}"] for tag in ("0", "1", "2", "old")]
    needed = needed_images(world.tables)
    assert [needed.has({"Id": OTHER, "RepoTags": each}) for each in tags] == [True, True, True, False]


def test_only_what_is_pinned_has_a_pinned_reference() -> None:
    world = World()
    world.replicated(1, template(PINNED))
    world.change(template("web:2"))
    assert {each.rpartition("@")[2] for each in pinned_references(world.tables)} == {DIGEST}


def test_services_are_named_that_are_pinned_to_an_image_now() -> None:
    world = World()
    world.replicated(1, template(PINNED))
    assert services_needing(world.tables, DIGEST) == ["web"]
    world.change(template("web:2"))
    assert services_needing(world.tables, DIGEST) == []
    world.change(template(PINNED))
    world.put(replace(world.service, pending_delete=True))
    assert services_needing(world.tables, DIGEST) == []


def test_a_name_without_a_record_is_each_nodes_own() -> None:
    world = World()
    world.put(ImageName(id="web:latest", image_id=DIGEST))
    assert image_record(world.tables, "web") == world.tables.image_names.get("web:latest")
    assert image_record(world.tables, "web:2") is None


def test_no_registry_is_asked_for_what_only_the_cluster_has() -> None:
    world = World()
    world.put(ImageName(id="local:1", image_id=DIGEST), ImageName(id="pushed:1", image_id=OTHER, registry=True))
    found = of_the_cluster(world.tables, "local:1")
    assert found is not None
    assert found.id == "local:1"
    assert of_the_cluster(world.tables, "pushed:1") is None
    again = of_the_cluster(world.tables, f"any@{DIGEST}")
    assert again is not None
    assert again.id == "local:1"
