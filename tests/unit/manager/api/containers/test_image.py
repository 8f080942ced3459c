"""A container's image is shown by the name that it was asked for by."""

from common.model import ImageName, Task
from manager.api.containers.image import IMAGE_LABEL, by_ids, of_image_id, with_image
from manager.api.logs.stream import TASK_LABEL
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
    assert of_image_id(body, ID, "local:1") == {"Image": ID, "Labels": {"a": "b", IMAGE_LABEL: "local:1"}, "Tty": True}


def test_a_filter_has_ids_where_only_the_cluster_knows_a_name() -> None:
    assert by_ids(world().tables, ["web:1", "local:1"]) == [ID, "web:1"]
