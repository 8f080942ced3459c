"""Building an image on the cluster: a context is sent, what the builder says is shown."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.text import build_progress
from common.text.terminal import pass_on, visible
from manager.cli.client import Client
from manager.cli.docker_config import config_path
from manager.cli.failures import CommandFailed
from manager.cli.image.build_context import BuildContext
from manager.cli.image.registry import every_auth

if TYPE_CHECKING:
    from aiohttp import StreamReader


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build; names as in `POST /build` of the Docker Engine API."""

    tags: Sequence[str] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    network: str = ""
    platform: str = ""
    cache_from: Sequence[str] = ()
    extra_hosts: Sequence[str] = ()
    no_cache: bool = False
    pull: bool = False

    def query(self, dockerfile: str) -> list[tuple[str, str]]:
        single = {
            "dockerfile": dockerfile,
            "buildargs": json.dumps(dict(self.args)) if self.args else "",
            "labels": json.dumps(dict(self.labels)) if self.labels else "",
            "cachefrom": json.dumps(list(self.cache_from)) if self.cache_from else "",
            "extrahosts": ",".join(self.extra_hosts),
            "target": self.target,
            "networkmode": self.network,
            "platform": self.platform,
            "nocache": "1" if self.no_cache else "",
            "pull": "1" if self.pull else "",
        }
        given = [(name, value) for name, value in single.items() if value]
        return [*(("t", tag) for tag in self.tags), ("rm", "1"), *given]


async def build(client: Client, context: BuildContext, options: BuildOptions, *, quiet: bool = False) -> str:
    """Build an image and return its id; the builder's words go to standard output.

    Raises:
        CommandFailed: the build failed; with `quiet`, the message has all that the builder said.

    """
    headers = {"Content-Type": "application/x-tar", "X-Registry-Config": every_auth(config_path())}
    image_id = ""
    said: list[str] = []
    async with client.upload("/build", context.archive(), options.query(context.dockerfile), headers=headers) as answer:
        async for message in messages(answer):
            image_id = (message.get("aux") or {}).get("ID", image_id)
            if failure := build_progress.failure(message):
                raise CommandFailed("".join(said) + failure)
            text = message.get("stream") or visible(progress_line(message))
            if quiet:
                said.append(text)
            else:
                pass_on(text)
    if not image_id:
        raise CommandFailed("the builder stopped without naming the image that it built: look at the manager's log")
    return image_id


def progress_line(message: Mapping[str, Any]) -> str:
    """Say how a pull goes, a line a step; how far a layer is would fill the screen."""
    if not message.get("status") or message.get("progressDetail"):
        return ""
    name = f"{message['id']}: " if message.get("id") else ""
    return f"{name}{message['status']}\n"


async def messages(body: StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Read an answer that is one JSON object after the other, each on a line of any length."""
    rest = b""
    async for piece in body.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)
