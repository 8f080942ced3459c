"""Images that no registry knows: a service that names one is pinned to its id, as others are to their digest.

With containerd's image store, which Docker 29 has by default, the engine does not tell which images those are: an
image's id is the digest that a registry would know it by, and every name that it has is listed among `RepoDigests`,
whether a registry ever saw it or not. So the registry is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from common.errors import Unavailable
from common.imagenames import pin, pinned_id
from common.model.service import ServiceSpec
from common.wire.image_messages import ImageSeen
from manager.api.context import Context
from manager.api.images_find import Located, choose, find_local, holders
from manager.api.proxy import ask

# Whoever creates a service waits for this. A registry that works answers in one or two; one that does not is silent for
# longer than anybody wants to wait for a digest, without which the service is made, too.
DIGEST_SECONDS = 4.0


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
        located = await _of_no_registry(context, container.image, headers)
    if located is None:
        return spec
    container = msgspec.structs.replace(container, image=pin(container.image, located.image_id))
    template = msgspec.structs.replace(spec.task_template, container_spec=container)
    return msgspec.structs.replace(spec, task_template=template)


async def untold(context: Context, reference: str) -> Located | None:
    """Find an image that may be the cluster's own or a registry's. None where there is none, or the engine tells."""
    located = choose(reference, await holders(context, reference))
    return located if located is not None and _is_untold(located.seen) else None


async def _of_no_registry(context: Context, reference: str, headers: Mapping[str, str]) -> Located | None:
    """Find such an image that no registry that answers has by this name. `headers`: the client's, for credentials."""
    located = await untold(context, reference)
    if located is None:
        return None
    auth = {name: value for name, value in headers.items() if name == "x-registry-auth"}
    path = f"/distribution/{quote(reference, safe='/:@')}/json"
    try:
        reply = await ask(context, located.nodes[0], "GET", path, headers=auth, seconds=DIGEST_SECONDS)
    except Unavailable:
        return located
    return None if reply.ok else located


def _is_untold(seen: ImageSeen) -> bool:
    return any(digest.endswith(f"@{seen.image_id}") for digest in seen.repo_digests)
