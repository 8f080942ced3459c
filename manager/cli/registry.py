"""Registries as the user has logged in to them (`docker login`), and the digests of images."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from common.errors import InvalidArgument
from common.model.service import Placement, Platform, ServiceSpec
from manager.cli.client import Client
from manager.cli.failures import ApiError
from manager.cli.images import HUB, Image

_HUB_SERVER = "https://index.docker.io/v1/"
_HELPER_SECONDS = 30
_NOT_PINNED = (
    "image {0} could not be accessed on a registry to record\n"
    "its digest. Each node will access {0} independently,\n"
    "possibly leading to different nodes running different\n"
    "versions of the image.\n"
)


def config_path() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def auth_header(image: str, path: Path) -> str:
    """Return the `X-Registry-Auth` value for an image: base64url of JSON, `{}` when nobody logged in.

    Raises:
        InvalidArgument: the file with the credentials, or the helper it names, does not work.

    """
    try:
        server = Image.parse(image).registry
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    credentials = _credentials(_HUB_SERVER if server == HUB else server, _load(path))
    return base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()


def every_auth(path: Path) -> str:
    """Return the `X-Registry-Config` value of a build: the credentials of every registry, by its name."""
    config = _load(path)
    servers = [*(config.get("auths") or {}), *(config.get("credHelpers") or {})]
    known = {server: found for server in servers if (found := _credentials(server, config))}
    return base64.urlsafe_b64encode(json.dumps(known).encode()).decode()


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read the registry credentials in {path}: {error}") from error
    return content if isinstance(content, dict) else {}


def _credentials(server: str, config: dict[str, Any]) -> dict[str, str]:
    helper = (config.get("credHelpers") or {}).get(server) or config.get("credsStore")
    if helper:
        return _from_helper(helper, server)
    entry = (config.get("auths") or {}).get(server)
    if not entry:
        return {}
    user, _, password = base64.b64decode(entry.get("auth") or "").decode(errors="replace").partition(":")
    known = {"username": user, "password": password, "identitytoken": entry.get("identitytoken", "")}
    return {key: value for key, value in known.items() if value} | {"serveraddress": server}


def _from_helper(helper: str, server: str) -> dict[str, str]:
    """Ask `docker-credential-HELPER`; that it knows no credentials is none of our errors."""
    command = ["docker-credential-" + helper, "get"]
    try:
        answer = subprocess.run(  # the argument vector is a list; the helper is the user's own choice
            command, input=server, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
        if answer.returncode:
            return {}
        found = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise InvalidArgument(f"the credential helper {command[0]} does not work: {error}") from error
    if found.get("Username") == "<token>":
        return {"identitytoken": found["Secret"], "serveraddress": server}
    return {"username": found["Username"], "password": found["Secret"], "serveraddress": server}


async def pin_image(client: Client, spec: ServiceSpec, header: str) -> tuple[ServiceSpec, str]:
    """Name the image's content by its digest, and its platforms; that a registry does not answer is only a warning.

    Returns:
        The specification, and the warning or an empty text.

    """
    container = spec.task_template.container_spec
    if container is None:
        return spec, ""
    try:
        image = Image.parse(container.image)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    if image.digest:
        return spec, ""
    try:
        found = await client.get(f"/distribution/{container.image}/json", headers={"X-Registry-Auth": header})
    except ApiError as error:
        return spec, f"{_NOT_PINNED.format(container.image)}({error.reason})\n"
    digest = (found.get("Descriptor") or {}).get("digest", "")
    pinned = str(image.pinned(digest)) if digest else container.image
    platforms = tuple(
        Platform(architecture=each.get("architecture", ""), os=each.get("os", ""))
        for each in found.get("Platforms") or []
    )
    return _with_image(spec, pinned, platforms), ""


def _with_image(spec: ServiceSpec, image: str, platforms: tuple[Platform, ...]) -> ServiceSpec:
    template = spec.task_template
    assert template.container_spec is not None
    container = msgspec.structs.replace(template.container_spec, image=image)
    placement = msgspec.structs.replace(template.placement or Placement(), platforms=platforms)
    return msgspec.structs.replace(
        spec, task_template=msgspec.structs.replace(template, container_spec=container, placement=placement)
    )
