"""The image of a service that no registry knows: pinned by its id when the service is made, as others by digest."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from common.imagenames import pin, pinned_id
from common.model.service import ServiceSpec
from manager.api.context import Context
from manager.api.images_find import find_local
from manager.api.images_untold import of_no_registry


async def pinned(context: Context, spec: ServiceSpec, headers: Mapping[str, str]) -> ServiceSpec:
    """Name the very image that a service's name means now, if it is only in the cluster: all its tasks run that one.

    Clients that ask /distribution first send it pinned already. One that names no digest means what the name means now:
    so `service update --image NAME` takes the newest, and an update that repeats the stored spec changes nothing.
    `headers` are the request's, where credentials for the registry are.
    """
    container = spec.task_template.container_spec
    if container is None or not container.image or pinned_id(container.image) or "@" in container.image:
        return spec
    located = await find_local(context, container.image)
    if located is None:
        located = await of_no_registry(context, container.image, headers)
    if located is None:
        return spec
    container = msgspec.structs.replace(container, image=pin(container.image, located.image_id))
    template = msgspec.structs.replace(spec.task_template, container_spec=container)
    return msgspec.structs.replace(spec, task_template=template)
