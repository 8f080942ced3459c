"""A service that names an image of the cluster's own is pinned to its id, as others are to a registry's digest."""

from __future__ import annotations

import msgspec

from common.imagenames import pin, pinned_id
from common.model.service import ServiceSpec
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.images_find import describe, holders
from manager.api.images_own import parse_own
from manager.state.imagenames import of_the_cluster
from manager.state.view import View


def pinned(view: View, spec: ServiceSpec) -> ServiceSpec:
    """Name the very image that a service's name means now, where that is the cluster's own: all its tasks run that one.

    Clients that ask /distribution first send it pinned already. One that names no digest means what the name means now:
    so `service update --image NAME` takes the newest, and an update that repeats the stored spec changes nothing. A
    name that no client has given, and a registry's, stay as they are: each node takes them by itself.

    Raises:
        EngineError: 400, it is a name that a single node's engine has.

    """
    image = _image(spec)
    if parse_own(image) is not None:
        raise EngineError(
            400,
            f"{image[:200]} is an image of that node alone: make it the cluster's with "
            "'swarm-manager image adopt NODE NAME', or with 'docker tag', and name it so",
        )
    name = of_the_cluster(view, image) if image and "@" not in image else None
    container = spec.task_template.container_spec
    if name is None or container is None:
        return spec
    container = msgspec.structs.replace(container, image=pin(image, name.image_id))
    return msgspec.structs.replace(
        spec, task_template=msgspec.structs.replace(spec.task_template, container_spec=container)
    )


async def warnings_of(context: Context, spec: ServiceSpec, before: ServiceSpec | None = None) -> tuple[str, ...]:
    """Warn of an image of the cluster's own that no connected node holds; one that was named `before` is not news."""
    image_id = pinned_id(_image(spec))
    name = of_the_cluster(context.store.view, image_id) if image_id else None
    if name is None or (before is not None and _image(before) == _image(spec)) or await holders(context, image_id):
        return ()
    return (f"{name.id} is {describe(name)}, which no connected node holds: no task can run until one does",)


def _image(spec: ServiceSpec) -> str:
    container = spec.task_template.container_spec
    return container.image if container is not None else ""
