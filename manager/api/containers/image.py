"""By which name a container's image is shown: the one that it was asked for by.

A node that has fetched an image knows it by its id alone, and its engine can show no other name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from common.model.service import EXTENSION_PREFIX
from common.text.image_names import is_id
from manager.api.logs.stream import TASK_LABEL
from manager.domain.image_use import of_the_cluster
from manager.store.view import View

# What a container was asked for by that was made of an image's id.
IMAGE_LABEL = EXTENSION_PREFIX + "image"


def with_image(view: View, shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name the image of what an engine shows of a container: an entry of its list, or an inspected one's `Config`."""
    image = shown.get("Image")
    if not isinstance(image, str) or not is_id(image):
        return shown
    name = _requested_image(view, shown.get("Labels") or {})
    return {**shown, "Image": name} if name else shown


def _requested_image(view: View, labels: Mapping[str, str]) -> str:
    task = view.tasks.get(labels.get(TASK_LABEL, ""))
    if task is None:
        return labels.get(IMAGE_LABEL, "")
    container = task.spec.container_spec
    return container.image if container is not None else ""


def of_image_id(body: Mapping[str, Any], image_id: str, name: str) -> dict[str, Any]:
    """Return what an engine is to make a container from, of an image that it knows by its id and not by its name."""
    others = {key: value for key, value in body.items() if key.lower() != "image"}
    return {**others, "Image": image_id, "Labels": {**others["Labels"], IMAGE_LABEL: name}}


def by_ids(view: View, names: Collection[str]) -> list[str]:
    """Return images by their ids where only the cluster knows their names, else as they are, for an engine's filter."""
    found = [(name, of_the_cluster(view, name)) for name in sorted(names)]
    return [name if own is None else own.image_id for name, own in found]
