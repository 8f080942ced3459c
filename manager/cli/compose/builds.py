"""What of a stack's images is built: the `build` of its services. Pure."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field

from manager.cli.compose.config import Config, Tree
from manager.cli.compose.errors import ComposeError, KeyPath

REMOTE = ("http://", "https://", "git://", "git@", "github.com/", "ssh://")


@dataclass(frozen=True, slots=True)
class Build:
    """One image to build, and the service in the file that asks for it; `context` is an absolute path.

    `required`: the file names no image that could be used instead. `at` is where in the file it stands.
    """

    service: str
    image: str
    context: str
    dockerfile: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    network: str = ""
    cache_from: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    required: bool = True
    at: KeyPath = ()


def default_image_name(stack: str, service: str) -> str:
    """Name the image of a service that is built and has no name for it."""
    return f"{stack}_{service}".lower()


def builds(config: Config, stack: str, directory: str, env: Mapping[str, str]) -> tuple[Build, ...]:
    """List the builds of a stack; paths are relative to `directory`, arguments without a value are the environment's.

    Raises:
        ComposeError: a context that is not a folder of this host.

    """
    return tuple(
        _build(config, stack, name, service, directory, env)
        for name, service in config.services.items()
        if service.get("build")
    )


def _build(config: Config, stack: str, name: str, service: Tree, directory: str, env: Mapping[str, str]) -> Build:
    at: KeyPath = ("services", name, "build")
    build: Tree = service["build"]
    context = build.get("context", ".")
    if context.startswith(REMOTE):
        raise _not_local(config, at, context)
    args = {key: env.get(key) if value is None else value for key, value in build.get("args", {}).items()}
    return Build(
        service=name,
        image=service.get("image") or default_image_name(stack, name),
        context=os.path.normpath(os.path.join(directory, os.path.expanduser(context))),  # noqa: PTH111, PTH118 - pure
        dockerfile=build.get("dockerfile", ""),
        args={key: value for key, value in args.items() if value is not None},
        labels=build.get("labels", {}),
        target=build.get("target", ""),
        network=build.get("network", ""),
        cache_from=tuple(build.get("cache_from", ())),
        extra_hosts=tuple(build.get("extra_hosts", ())),
        required="image" not in service,
        at=at,
    )


def _not_local(config: Config, at: KeyPath, context: str) -> ComposeError:
    return config.error(at, f"the context {context} is not a folder on this host: clone it, and name the folder")
