"""Building an image on the cluster: a context is sent, and what the builder says is shown.

A context is a folder and its Dockerfile as a tar archive, written while it is sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import InvalidArgument
from common.text import build_progress
from common.text.terminal import pass_on, visible
from manager.cli.client import Client
from manager.cli.container.archive import END, member
from manager.cli.docker_config import config_path, every_auth
from manager.cli.failures import CommandFailed
from manager.cli.image.dockerignore import FILE, Ignored

if TYPE_CHECKING:
    from aiohttp import StreamReader


# Where a Dockerfile from outside of the context is put in the archive.
_FROM_OUTSIDE = ".dockerfile.from-outside"


@dataclass(frozen=True, slots=True)
class BuildContext:
    """A folder to build from; `dockerfile` is its path in the archive, `outside` its file when that is elsewhere."""

    folder: Path
    dockerfile: str
    ignored: Ignored
    outside: Path | None = None

    async def archive(self) -> AsyncIterator[bytes]:
        """Write the archive, piece by piece, as it is read.

        Raises:
            InvalidArgument: a file cannot be read, or changes while it is read.

        """
        for path, name in self._members():
            async for piece in member(path, name):  # without owners, as in Docker's contexts
                yield piece
        yield END

    def _members(self) -> Iterator[tuple[Path, str]]:
        if self.outside is not None:
            yield self.outside, _FROM_OUTSIDE
        for top, folders, files in os.walk(self.folder):
            inside = Path(top).relative_to(self.folder)
            names = {each: (inside / each).as_posix() for each in sorted([*folders, *files])}
            folders[:] = sorted(each for each in folders if self.ignored.may_need(names[each]))
            yield from ((Path(top, each), name) for each, name in names.items() if not self.ignored.ignores(name))


def open_context(folder: str, dockerfile: str = "", *, relative_to_context: bool = False) -> BuildContext:
    """Look at a folder to build from. `dockerfile` is a path of this process, or one in the context.

    Raises:
        InvalidArgument: there is no such folder, no Dockerfile in it, or its `.dockerignore` is malformed.

    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidArgument(f"there is no folder {folder}")
    root = root.resolve()
    file = root / (dockerfile or "Dockerfile") if relative_to_context or not dockerfile else Path(dockerfile)
    if not file.is_file():
        raise InvalidArgument(f"there is no Dockerfile {file}")
    file = file.resolve()
    outside = None if file.is_relative_to(root) else file
    name = _FROM_OUTSIDE if outside else file.relative_to(root).as_posix()
    return BuildContext(root, name, _read_ignored(root, name), outside)


def _read_ignored(root: Path, dockerfile: str) -> Ignored:
    try:
        text = (root / FILE).read_text()
    except FileNotFoundError:
        return Ignored()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"cannot read {root / FILE}: {error}") from error
    return Ignored.parse(text, always=(dockerfile, FILE))


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
