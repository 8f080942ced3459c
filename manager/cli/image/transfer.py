"""`swarm-manager image`: pull, push, save and load: images that come to the cluster or leave it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from common.errors import InvalidArgument
from common.text import build_progress
from common.text.image_names import Image
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_images
from manager.cli.container.archive import pieces, write_all
from manager.cli.docker_config import auth_header, config_path
from manager.cli.failures import CommandFailed
from manager.cli.image.build_context import messages, progress_line
from manager.cli.session import with_client

if TYPE_CHECKING:
    from aiohttp import StreamReader

TAR = {"Content-Type": "application/x-tar"}

_quiet = flag("-q", "--quiet", is_flag=True, default=False, help="Do not print the progress.")


def parse_name(name: str) -> Image:
    """Read an image's name.

    Raises:
        InvalidArgument: it is not one.

    """
    try:
        return Image.parse(name)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error


def _repository(name: str) -> Image:
    """Read a name all of whose tags are meant.

    Raises:
        InvalidArgument: it is not one, or names one of them.

    """
    image = parse_name(name)
    if image.tag or image.digest:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    return image


async def show(answer: StreamReader, *, quiet: bool) -> None:
    """Print how it goes, a line a step.

    Raises:
        CommandFailed: it went wrong; the engine's words.

    """
    async for message in messages(answer):
        if failure := build_progress.failure(message):
            raise CommandFailed(failure)
        if not quiet:
            echo(message.get("stream") or progress_line(message), nl=False)


@click.command("pull", cls=SwarmCommand, examples="swarm-manager image pull debian:12")
@click.argument("name", metavar="NAME[:TAG|@DIGEST]", shell_complete=complete_images)
@flag("-a", "--all-tags", is_flag=True, default=False, help="Download all tagged images of the repository.")
@flag("--platform", default="", metavar="OS/ARCH", help="Platform of the image.")
@_quiet
@with_client
async def pull(client: Client, /, name: str, platform: str, *, all_tags: bool, quiet: bool) -> None:
    """Bring an image from its registry to one node; the others fetch it from there when they need it."""
    image = _repository(name) if all_tags else parse_name(name)
    query = {"fromImage": image.name} | ({} if all_tags else {"tag": image.digest or image.tag or "latest"})
    query |= {"platform": platform} if platform else {}
    headers = {"X-Registry-Auth": auth_header(name, config_path())}
    async with client.stream("/images/create", query, method="POST", headers=headers) as answer:
        await show(answer, quiet=quiet)
    echo(name if all_tags or image.digest or image.tag else f"{name}:latest")


@click.command("push", cls=SwarmCommand, examples="swarm-manager image push registry.example/team/shop:1")
@click.argument("name", metavar="NAME[:TAG]", shell_complete=complete_images)
@flag("-a", "--all-tags", is_flag=True, default=False, help="Push all tags of an image to the repository.")
@_quiet
@with_client
async def push(client: Client, /, name: str, *, all_tags: bool, quiet: bool) -> None:
    """Send an image to its registry, from a node that has it."""
    image = _repository(name) if all_tags else parse_name(name)
    headers = {"X-Registry-Auth": auth_header(name, config_path())}
    path, query = f"/images/{image.name}/push", {} if all_tags else {"tag": image.tag or "latest"}
    async with client.stream(path, query, method="POST", headers=headers) as answer:
        await show(answer, quiet=quiet)
    if quiet:
        echo(name)


@click.command("save", cls=SwarmCommand, examples="swarm-manager image save -o shop.tar shop:1")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=complete_images)
@flag("-o", "--output", default="", metavar="PATH", help="Write to a file instead of standard output.")
@with_client
async def save(client: Client, /, names: tuple[str, ...], output: str) -> None:
    """Write one or more images as a tar archive."""
    await write_to(output, client, "/images/get", [("names", name) for name in names])


async def write_to(output: str, client: Client, path: str, query: list[tuple[str, str]]) -> None:
    """Write an answer to a file, or to standard output if that is not a terminal; only complete files are kept.

    Raises:
        InvalidArgument: standard output is a terminal, or the file cannot be written.

    """
    if not output and sys.stdout.isatty():
        raise InvalidArgument("this would write an archive to the terminal: use -o, or redirect it")
    async with client.stream(path, query) as body:
        if not output:
            await write_all(body, sys.stdout.buffer)
            return
        try:
            with _write_when_done(Path(output)) as file:
                await write_all(body, file)
        except OSError as error:
            raise InvalidArgument(f"cannot write {output}: {error.strerror or error}") from error


@contextlib.contextmanager
def _write_when_done(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name when the block is done, and is gone when it fails."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@click.command("load", cls=SwarmCommand, examples="swarm-manager image load -i shop.tar")
@flag("-i", "--input", "source", default="", metavar="PATH", help="Read a file instead of standard input.")
@_quiet
@with_client
async def load(client: Client, /, source: str, *, quiet: bool) -> None:
    """Load images from a tar archive to one node; the others fetch them from there when they need them."""
    with await open_archive(source) as file:
        archive = pieces(file.fileno())
        async with client.upload("/images/load", archive, [("quiet", "1")], headers=TAR) as answer:
            await show(answer, quiet=quiet)


async def open_archive(source: str) -> IO[bytes]:
    """Open a file to be sent, or standard input if that is not a terminal.

    Raises:
        InvalidArgument: standard input is a terminal, or the file cannot be read.

    """
    if not source and sys.stdin.isatty():
        raise InvalidArgument("an archive is read from standard input, and this is a terminal: use -i, or redirect it")
    try:
        return await asyncio.to_thread(Path(source).open, "rb") if source else sys.stdin.buffer
    except OSError as error:
        raise InvalidArgument(f"cannot read {source}: {error.strerror}") from error
