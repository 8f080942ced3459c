"""`swarm-manager container cp`: files between this machine and a container on any node, as tar archives."""

from __future__ import annotations

import base64
import json
import os
import posixpath
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click

from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.container.archive import END, member, pieces, unpack, write_all
from manager.cli.container.stats import in_thousands
from manager.cli.failures import ApiError, not_a_manager
from manager.cli.session import with_client

STREAM = "-"
_STAT_HEADER = "x-docker-container-path-stat"
# Go's os.FileMode, in which the engine tells what a path is.
_GO_FOLDER, _GO_LINK = 1 << 31, 1 << 27


@dataclass(frozen=True, slots=True)
class Spot:
    """A path, in a container or here, and what is there; a link's `link_target` is a path of the same machine."""

    path: str
    exists: bool = True
    is_folder: bool = False
    link_target: str = ""

    @property
    def name(self) -> str:
        return posixpath.basename(posixpath.abspath(self.path))

    @property
    def names_content(self) -> bool:
        """Whether what is in the folder is meant, not the folder: `DIR/.`."""
        return self.path == "." or self.path.endswith("/.")

    @property
    def names_folder(self) -> bool:
        return self.path.endswith("/") or self.names_content


def unpack_target(source: Spot, destination: Spot) -> tuple[str, str]:
    """Return the folder that a copy is unpacked in, and its name there: empty, when it is merged with the folder.

    Raises:
        InvalidArgument: a folder cannot be copied to a file, nor a file to a folder that there is not.

    """
    if destination.is_folder:
        return destination.path, "" if source.names_content else source.name
    if destination.exists and source.is_folder:
        raise InvalidArgument(f"cannot copy a directory to a file: {destination.path} is one")
    if destination.exists and destination.names_folder:
        raise InvalidArgument(f"{destination.path} is not a directory")
    if destination.names_folder and not source.is_folder:
        raise InvalidArgument(f"no such directory: {destination.path} must exist, as a file is copied into it")
    path = posixpath.normpath(destination.path)
    return posixpath.dirname(path) or ".", posixpath.basename(path)


def renaming(name: str) -> Callable[[str], str]:
    """Put a name in the place of the first one of each path in an archive."""

    def rename(path: str) -> str:
        return posixpath.join(name, path.removeprefix("/").partition("/")[2])

    return rename


@click.command(
    "cp",
    cls=SwarmCommand,
    examples="""
    swarm-manager container cp web:/etc/nginx/nginx.conf .
    swarm-manager container cp site/. web:/usr/share/nginx/html
    swarm-manager container cp db:/var/lib/data - > data.tar
    """,
)
@click.argument("source", metavar="CONTAINER:SRC_PATH|SRC_PATH|-")
@click.argument("destination", metavar="DEST_PATH|-|CONTAINER:DEST_PATH")
@flag("-a", "--archive", is_flag=True, default=False, help="Archive mode (copy all uid/gid information).")
@flag("-L", "--follow-link", is_flag=True, default=False, help="Always follow symbolic link in SRC_PATH.")
@flag("-q", "--quiet", is_flag=True, default=False, help="Do not print how much was copied.")
@with_client
async def copy(
    client: Client, /, source: str, destination: str, *, archive: bool, follow_link: bool, quiet: bool
) -> None:
    """Copy files and folders between a container and this machine; `-` is a tar archive from or to the shell."""
    (giver, source), (taker, destination) = _split(source), _split(destination)
    if giver and taker:
        raise InvalidArgument("copying between containers is not supported")
    if not giver and not taker:
        raise InvalidArgument("must specify at least one container source")
    if giver:
        size = await _from_container(client, giver, source, destination, owner=archive, follow=follow_link)
    else:
        size = await _to_container(client, source, taker, destination, owner=archive, follow=follow_link)
    if not quiet and destination != STREAM and sys.stdout.isatty():
        echo(f"Successfully copied {in_thousands(size)} to {taker and taker + ':'}{destination}", err=True)


def _split(argument: str) -> tuple[str, str]:
    """Split `CONTAINER:PATH`; the container is empty for a path of this machine, as `/a:b` and `./a:b` are."""
    container, colon, path = argument.partition(":")
    if argument.startswith("/") or not colon or container.startswith("."):
        return "", argument
    return container, path


async def _spot(client: Client, container: str, path: str) -> Spot:
    """Look at a path in a container. What cannot be looked at counts as missing: the copy then says why it fails."""
    try:
        headers = await client.head(f"/containers/{container}/archive", {"path": path})
    except ApiError:
        return Spot(path, exists=False)
    if _STAT_HEADER not in headers:
        raise not_a_manager(client.endpoint.url)
    seen = json.loads(base64.b64decode(headers[_STAT_HEADER]))
    target = posixpath.join(posixpath.dirname(path), seen["linkTarget"]) if seen["mode"] & _GO_LINK else ""
    return Spot(path, is_folder=bool(seen["mode"] & _GO_FOLDER), link_target=target)


def _spot_here(path: str, *, follow: bool) -> Spot:
    """Look at a path of this machine; `follow` looks at what a link leads to."""
    if follow and os.path.islink(path):  # noqa: PTH114 - a Path forgets the slash of `LINK/`, which is the folder
        path = os.path.realpath(path)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return Spot(path, exists=False)
    except OSError as error:
        raise InvalidArgument(f"cannot look at {path}: {error.strerror}") from error
    return Spot(path, is_folder=stat.S_ISDIR(mode))


async def _from_container(
    client: Client, container: str, path: str, destination: str, *, owner: bool, follow: bool
) -> int:
    source = await _spot(client, container, path)
    asked = path
    if follow and source.link_target:
        asked = source.link_target
        source = Spot(path, is_folder=(await _spot(client, container, asked)).is_folder)
    place = None
    if destination != STREAM and source.exists:
        folder, name = unpack_target(source, _spot_here(destination, follow=True))
        if not _spot_here(folder, follow=True).is_folder:
            raise InvalidArgument(f"invalid output path: directory {folder!r} does not exist")
        place = Path(folder), renaming(name)
    async with client.stream(f"/containers/{container}/archive", {"path": asked}) as body:
        if place is not None:
            return await unpack(body, *place, owner=owner)
        return await write_all(body, sys.stdout.buffer)


async def _to_container(
    client: Client, path: str, container: str, destination: str, *, owner: bool, follow: bool
) -> int:
    there = await _spot(client, container, destination)
    if there.link_target:
        there = await _spot(client, container, there.link_target)
    sent = 0

    async def counted(archive: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        nonlocal sent
        async for piece in archive:
            sent += len(piece)
            yield piece

    if path == STREAM:
        if there.exists and not there.is_folder:
            raise InvalidArgument(f'destination "{container}:{destination}" must be a directory')
        folder, archive = there.path, pieces(sys.stdin.fileno())
    else:
        source = replace(_spot_here(path, follow=follow), path=path)
        if not source.exists:
            raise InvalidArgument(f"cannot copy {path}: there is no such file or directory")
        folder, name = unpack_target(source, there)
        follow = follow or source.names_folder
        archive = _archive(_tree(Path(path), name, follow=follow), follow=follow)
    query = [("path", folder), ("noOverwriteDirNonDir", "true"), *([("copyUIDGID", "true")] if owner else [])]
    headers = {"Content-Type": "application/x-tar"}
    route = f"/containers/{container}/archive"
    async with client.upload(route, counted(archive), query, headers=headers, method="PUT") as answer:
        await answer.read()
    return sent


async def _archive(files: Iterable[tuple[Path, str]], *, follow: bool) -> AsyncIterator[bytes]:
    """Write files with their owners; `follow` is for the first of them."""
    for path, name in files:
        async for piece in member(path, name, owner=True, follow=follow):
            yield piece
        follow = False
    yield END


def _tree(top: Path, name: str, *, follow: bool) -> Iterator[tuple[Path, str]]:
    """List a file, or a folder and all that is in it, with the names for an archive."""
    yield top, name or "."
    if top.is_dir() and (follow or not top.is_symlink()):
        for folder, folders, files in os.walk(top):
            inside = posixpath.join(name, Path(folder).relative_to(top).as_posix())
            yield from ((Path(folder, each), posixpath.join(inside, each)) for each in sorted([*folders, *files]))
