"""By which names images are shown: the cluster's as they are, single nodes' below a domain that is the node's."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from common.model import ImageName, Service
from common.model.container import ContainerSpec
from common.model.service import ServiceSpec, TaskSpec
from manager.api.engine.types import Image
from manager.api.errors import EngineError
from manager.api.images.names import Naming, filter_by_name, merge, unheld
from manager.api.images.own import domains, engine_name, own_name, parse_own
from manager.api.services.container_validation import is_image
from manager.store.tables import Tables
from tests.fakes.api_cluster import make_node

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
DIGEST = "sha256:" + "d" * 64
A, B = "a" * 25, "b" * 25


def entry(image_id: str, *tags: str, created: int = 1, containers: int = -1, digests: tuple[str, ...] = ()) -> Image:
    return {
        "Id": image_id, "RepoTags": list(tags), "RepoDigests": list(digests), "Created": created,
        "Containers": containers, "Size": 10,
    }  # fmt: skip


def naming(*names: ImageName, pinned: str = "", second: str = "h2") -> Naming:
    tables = Tables()
    for name in names:
        tables.of(ImageName).put(name)
    for node_id, hostname in ((A, "h1"), (B, second)):
        tables.of(type(make_node(A, "x", ""))).put(make_node(node_id, hostname, "10.0.0.1"))
    if pinned:
        spec = ServiceSpec(name="s", task_template=TaskSpec(container_spec=ContainerSpec(image=pinned)))
        tables.of(Service).put(Service(id="s" * 25, spec=spec))
    return Naming.of(tables)


def shown(images: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    return {image["Id"]: image["RepoTags"] for image in images}


def test_lists_of_nodes_are_one_list_an_entry_an_id() -> None:
    lists = {
        A: [entry(ONE, "web:1", created=1, containers=2), entry(TWO, "db:1", created=5)],
        B: [entry(ONE, created=1, containers=1)],
    }
    merged = merge(lists, naming(ImageName(id="web:1", image_id=ONE), ImageName(id="db:1", image_id=TWO)))
    assert [(each["Id"], each["RepoTags"], each["Containers"]) for each in merged] == [
        (TWO, ["db:1"], -1),
        (ONE, ["web:1"], 3),
    ]


def test_what_only_nodes_call_an_image_is_their_own_name() -> None:
    lists = {A: [entry(ONE, "web:1", "web:2")], B: [entry(TWO, "web:1"), entry(ONE, "web:2")]}
    merged = merge(lists, naming(ImageName(id="web:1", image_id=ONE)))
    assert shown(merged) == {
        ONE: ["h1.node/web:2", "h2.node/web:2", "web:1"],
        TWO: ["h2.node/web:1"],
    }


def test_a_name_is_shown_for_its_image_where_no_node_knows_it() -> None:
    merged = merge({B: [entry(ONE)]}, naming(ImageName(id="web:1", image_id=ONE)))
    assert shown(merged) == {ONE: ["web:1"]}


def test_a_named_image_that_nobody_holds_is_listed() -> None:
    names = naming(
        ImageName(id="web:1", image_id=ONE, created_at=7.0, size=9),
        ImageName(id="web:2", image_id=ONE),
        ImageName(id="db:1", image_id=TWO),
        ImageName(id=f"nginx@{DIGEST}", image_id=THREE, registry=True),
    )
    assert shown(unheld([TWO], names)) == {ONE: ["web:1", "web:2"]}


def test_digests_are_plain_where_a_client_vouches_for_them() -> None:
    digests = tuple(f"{name}@{DIGEST}" for name in ("nginx", "db", "strange"))
    names = naming(
        ImageName(id="nginx:1", image_id=ONE, registry=True, repo_digests=(f"nginx@{DIGEST}",)),
        pinned=f"db:7@{DIGEST}",
    )
    [image] = merge({A: [entry(ONE, digests=digests)]}, names)
    assert image["RepoDigests"] == [f"db@{DIGEST}", f"h1.node/strange@{DIGEST}", f"nginx@{DIGEST}"]


def test_an_old_engines_none_is_shown_only_for_unnamed_images() -> None:
    def none(image_id: str) -> dict:
        return entry(image_id, "<none>:<none>", digests=("<none>@<none>",))

    merged = merge(
        {A: [none(ONE), none(TWO)], B: [none(ONE), entry(THREE)]}, naming(ImageName(id="web:1", image_id=ONE))
    )
    names = {each["Id"]: (each["RepoTags"], each["RepoDigests"]) for each in merged}
    assert names == {ONE: (["web:1"], []), TWO: (["<none>:<none>"], ["<none>@<none>"]), THREE: ([], [])}
    assert [each["Id"] for each in filter_by_name(merged, {"dangling": frozenset({"true"})})] == [TWO, THREE]
    assert [each["Id"] for each in filter_by_name(merged, {"dangling": frozenset({"false"})})] == [ONE]


@pytest.mark.parametrize(
    ("pattern", "tags"),
    [
        ("web", ["web:1", "web:2"]),
        ("web:1", ["web:1"]),
        ("w*:[^2]", ["web:1"]),
        ("*", ["web:1", "web:2"]),
        ("*/web", ["h1.node/web:3", "team/web:1"]),
        ("h1.node/*:*", ["h1.node/web:3"]),
        ("w", []),
    ],
)
def test_the_filter_by_reference(pattern: str, tags: list[str]) -> None:
    image = {"Id": ONE, "RepoTags": ["h1.node/web:3", "team/web:1", "web:1", "web:2"], "RepoDigests": []}
    found = filter_by_name([image], {"reference": frozenset({pattern})})
    assert [tag for each in found for tag in each["RepoTags"]] == tags


# --- the names of single nodes ----------------------------------------------------------------------------------------


def test_nodes_of_one_name_are_told_apart_by_their_ids() -> None:
    same = naming(second="H1")
    assert same.domains == {A: f"{A}.node", B: f"{B}.node"}
    assert domains([make_node(A, "h_1", "10.0.0.1"), make_node(B, "h1.example", "10.0.0.2")]) == {
        A: f"{A}.node",
        B: "h1.example.node",
    }


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("web:1", "h1.node/web:1"),
        ("team/web:1", "h1.node/team/web:1"),
        ("reg.example:5000/team/web:1", "h1.node/reg.example__5000/team/web:1"),
        ("Reg.example/web:1", "h1.node/reg.example/web:1"),
        ("[fe80::1]:5000/web:1", "h1.node/fe80__1__5000/web:1"),
        ("web@" + DIGEST, "h1.node/web@" + DIGEST),
        ("We b:1", ""),
        ("a/" + "b" * 600, ""),
        ("", ""),
    ],
)
def test_an_own_name_is_a_reference_that_finds_its_image(name: str, own: str) -> None:
    assert own_name("h1.node", name) == own
    parsed = parse_own(own)
    if own and "@" not in own:
        assert is_image(own)
        assert parsed is not None
        assert engine_name(parsed, [entry(TWO, "<none>:<none>"), entry(ONE, "x:1", name)]) == (name, ONE)
        with pytest.raises(EngineError, match="none by that name"):
            engine_name(parsed, [entry(ONE, "x:1")])


def test_an_own_name_without_a_tag_is_the_latest() -> None:
    parsed = parse_own("h1.node/web")
    assert parsed is not None
    assert engine_name(parsed, [entry(ONE, "web:1"), entry(TWO, "web:latest")]) == ("web:latest", TWO)


@pytest.mark.parametrize("name", ["web:1", "node/web", "h1.node", "h1.nodes/web", "h1.node:5000/web", ".node/", ""])
def test_other_names_are_not_single_nodes_own(name: str) -> None:
    assert parse_own(name) is None
