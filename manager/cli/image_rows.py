"""Images as rows: one a name, as `docker image ls` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from common.imagenames import split_tag
from common.units import human_decimal, human_duration
from manager.cli.rows import Row, Table

_NONE = "<none>"

IMAGES = Table(
    columns=("{{.Repository}}", "{{.Tag}}", "{{.ID}}", "{{.CreatedSince}}", "{{.Size}}"),
    headings={
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
    },
    key="ID",
)


def rows(images: Iterable[Any], now: float, *, full: bool = False) -> list[Row]:
    """Make the rows of images as /images/json lists them; `full` leaves ids whole."""
    return [row for image in images for row in _rows(image, now, full=full)]


def _rows(image: Any, now: float, *, full: bool) -> Iterator[Row]:
    image_id = image["Id"] if full else image["Id"].removeprefix("sha256:")[:12]
    for name in image.get("RepoTags") or [f"{_NONE}:{_NONE}"]:
        repository, tag = split_tag(name)
        yield {
            "Repository": repository,
            "Tag": tag,
            "Digest": _NONE,
            "ID": image_id,
            "CreatedSince": f"{human_duration(max(0.0, now - image['Created']))} ago",
            "CreatedAt": image["Created"],
            "Size": human_decimal(image["Size"]),
        }
