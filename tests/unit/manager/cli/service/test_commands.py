"""The revisions of a service, with what each changed."""

from collections.abc import Mapping
from typing import Any

from manager.cli.service.commands import changes, revision_rows

NOW = 1_700_000_000.0


def revision(number: int, image: str, replaced: str = "", **container: object) -> dict[str, Any]:
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": image, **container}}}
    return {"Revision": number, "Spec": spec, **({"ReplacedAt": replaced} if replaced else {})}


def test_the_present_revision_is_the_first_row() -> None:
    found: list[Mapping[str, Any]] = [revision(2, "web:2"), revision(1, "web:1", "2023-11-14T21:13:20Z")]
    present, first = revision_rows(found, NOW)
    assert (present["Revision"], present["Replaced"], present["Image"], present["Changes"]) == (
        2,
        "present",
        "web:2",
        "Image",
    )
    assert (first["Changes"], first["Replaced"]) == ("", "About an hour ago")


def test_fields_are_named_without_the_templates_part() -> None:
    old, new = revision(1, "web:1", Env=["A=1"])["Spec"], revision(2, "web:1", Env=["A=2"])["Spec"]
    assert list(changes(old, new)) == ["Env"]
    assert list(changes({"Mode": {"Replicated": {"Replicas": 1}}}, {"Mode": {"Global": {}}})) == [
        "Mode.Replicated",
        "Mode.Global",
    ]


def test_of_many_changes_four_are_named() -> None:
    old, new = revision(1, "a"), revision(2, "b", Env=[], Args=["x"], User="u", TTY=True, Dir="/")
    (row, _) = revision_rows([new, old], NOW)
    assert str(row["Changes"]).count(",") == 3
    assert str(row["Changes"]).endswith(" and 2 more")
