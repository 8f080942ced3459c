"""Which images the cluster's services need: what is never cleared away. Pure.

A name means what the cluster's clients made of it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.model import ImageName, Service
from common.model.service import ServiceSpec
from common.text.image_names import full_name, pinned_digest
from manager.store.view import View


@dataclass(frozen=True, slots=True)
class Needed:
    """Ids and digests that services are pinned to, and names (`repository:tag`) of those that are not."""

    digests: frozenset[str]
    names: frozenset[str]

    def has(self, image: Mapping[str, Any]) -> bool:
        """Whether an image, as engines list them, is needed."""
        digests = {image["Id"], *(str(each).rpartition("@")[2] for each in image.get("RepoDigests") or ())}
        names = {full_name(str(each)) for each in image.get("RepoTags") or ()}
        return not self.digests.isdisjoint(digests) or not self.names.isdisjoint(names)


def needed_images(view: View) -> Needed:
    """Collect what services name, in their present and their previous specs, and what their tasks were made from."""
    images = [*(image for service in view.services for image in _of_service(service)), *_of_tasks(view)]
    digests = (pinned_digest(image) for image in images)
    names = (full_name(image) for image in images if not pinned_digest(image))
    return Needed(frozenset(filter(None, digests)), frozenset(names))


def pinned_references(view: View) -> frozenset[str]:
    """Return `repository@digest` of all that services are pinned to, in their present and their previous specs."""
    images = {image for service in view.services for image in _of_service(service)}
    return frozenset(full_name(image) for image in images if pinned_digest(image))


def services_needing(view: View, image_id: str) -> Collection[str]:
    """Return the names of the services whose present spec is pinned to an image's id."""
    return sorted(s.name for s in view.services if not s.pending_delete and pinned_digest(_image(s.spec)) == image_id)


def _of_service(service: Service) -> Iterator[str]:
    for spec in (service.spec, service.previous_spec):
        if spec is not None and (image := _image(spec)):
            yield image


def _of_tasks(view: View) -> Iterable[str]:
    specs = (task.spec.container_spec for task in view.tasks if not task.status.state.terminal)
    return [container.image for container in specs if container is not None]


def _image(spec: ServiceSpec) -> str:
    container = spec.task_template.container_spec
    return container.image if container is not None else ""


def image_record(view: View, reference: str) -> ImageName | None:
    """Return the record of a name; None for one that no client has given, which each node takes by itself."""
    return view.image_names.get(full_name(reference))


def of_the_cluster(view: View, reference: str) -> ImageName | None:
    """Return the record that a reference means whose image no registry has by that name, so that none is asked.

    A reference that is pinned to an image's id means the image, by whichever name it has in the cluster.
    """
    pinned = pinned_digest(reference)
    names = view.image_names.of_image(pinned) if pinned else filter(None, [image_record(view, reference)])
    return next((name for name in names if not name.registry), None)
