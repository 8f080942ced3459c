"""Images as registries know them: by digest, so that every node runs the same content, and for which platforms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import msgspec

from common.errors import InvalidArgument
from common.model.service import Placement, Platform, ServiceSpec
from common.text.image_names import Image
from common.text.terminal import warn
from manager.cli import docker_config
from manager.cli.client import Client
from manager.cli.docker_config import config_path
from manager.cli.failures import ApiError

# So many images of a stack are asked for at a time: a registry that is away takes seconds to be given up, but all are
# asked by way of one node's engine.
AT_ONCE = 8
_NOT_PINNED = (
    "image {0} could not be accessed on a registry to record\n"
    "its digest. Each node will access {0} independently,\n"
    "possibly leading to different nodes running different\n"
    "versions of the image.\n"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """What was found out of an image: its name with the digest, and its platforms (None: nothing); or a warning."""

    image: str
    platforms: tuple[Platform, ...] | None = None
    warning: str = ""

    def applied(self, spec: ServiceSpec, tell: Callable[[str], None] = warn) -> ServiceSpec:
        """Return a specification with this image and its platforms; `tell` hears the warning."""
        if self.warning:
            tell(self.warning)
        template = spec.task_template
        if self.platforms is None or template.container_spec is None:
            return spec
        container = msgspec.structs.replace(template.container_spec, image=self.image)
        placement = msgspec.structs.replace(template.placement or Placement(), platforms=self.platforms)
        return msgspec.structs.replace(
            spec, task_template=msgspec.structs.replace(template, container_spec=container, placement=placement)
        )


async def pin(client: Client, name: str, header: str) -> Pin:
    """Ask for an image's digest with the credentials in `header`; that no registry answers is only a warning.

    Raises:
        InvalidArgument: this is not an image's name.

    """
    try:
        image = Image.parse(name)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    if image.digest:
        return Pin(name)
    try:
        found = await client.get(f"/distribution/{name}/json", headers={docker_config.AUTH_HEADER: header})
    except ApiError as error:
        return Pin(name, warning=f"{_NOT_PINNED.format(name)}({error.reason})\n")
    digest = (found.get("Descriptor") or {}).get("digest", "")
    platforms = tuple(
        Platform(architecture=each.get("architecture", ""), os=each.get("os", ""))
        for each in found.get("Platforms") or []
    )
    return Pin(str(image.pinned(digest)) if digest else name, platforms)


class Pins:
    """The pins of many services' images, asked for together: each image once, `AT_ONCE` at a time.

    Use as an async context manager. What goes wrong with an image is raised, or told, when the first service that has
    it is pinned, so that it comes where the service has its turn.
    """

    def __init__(self, client: Client, specs: Iterable[ServiceSpec], tell: Callable[[str], None] = warn) -> None:
        self._client = client
        self._tell = tell
        self._images = list(dict.fromkeys(image for spec in specs if (image := _image(spec))))
        self._free = asyncio.Semaphore(AT_ONCE)
        self._asked: dict[str, asyncio.Task[Pin]] = {}
        self._told: set[str] = set()

    async def __aenter__(self) -> Self:
        self._asked = {image: asyncio.create_task(self._ask(image)) for image in self._images}
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _ask(self, image: str) -> Pin:
        async with self._free:
            return await pin(self._client, image, docker_config.auth_header(image, config_path()))

    async def pinned(self, spec: ServiceSpec) -> ServiceSpec:
        """Pin the image of a specification that is one of those given, or has their image."""
        return (await self._asked[image]).applied(spec, self._tell_once) if (image := _image(spec)) else spec

    def _tell_once(self, warning: str) -> None:
        if warning not in self._told:
            self._told.add(warning)
            self._tell(warning)


def _image(spec: ServiceSpec) -> str:
    container = spec.task_template.container_spec
    return container.image if container is not None else ""
