"""`swarm-manager exec`: a program in a running container, on whichever node that is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import click

from common.errors import InvalidArgument
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_running
from manager.cli.container.streams import STDERR, frames, open_stream
from manager.cli.failures import ApiError
from manager.cli.flags.keyvalue import read_env_file
from manager.cli.session import with_client


@click.command(
    "exec",
    cls=SwarmCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    examples="""
    swarm-manager exec -it web sh
    swarm-manager exec -i db psql < dump.sql
    """,
)
@click.argument("reference", metavar="CONTAINER", shell_complete=complete_running)
@click.argument("command", nargs=-1, required=True, metavar="COMMAND [ARG...]", type=click.UNPROCESSED)
@flag("-d", "--detach", is_flag=True, default=False, help="Run the command in the background.")
@flag("--detach-keys", metavar="STRING", default="", help="Override the key sequence for detaching.")
@flag("-e", "--env", multiple=True, metavar="LIST", help="Set environment variables.")
@flag("--env-file", multiple=True, metavar="PATH", help="Read in a file of environment variables.")
@flag("-i", "--interactive", is_flag=True, default=False, help="Keep standard input open.")
@flag("--privileged", is_flag=True, default=False, help="Give extended privileges to the command.")
@flag("-t", "--tty", is_flag=True, default=False, help="Allocate a terminal.")
@flag("-u", "--user", metavar="STRING", default="", help='User name or UID ("name|uid[:group|gid]").')
@flag("-w", "--workdir", metavar="STRING", default="", help="Working directory inside the container.")
@with_client
async def execute(client: Client, /, reference: str, command: tuple[str, ...], **given: Any) -> None:
    """Run a command in a running container; its exit code is this command's."""
    if given["interactive"] and given["tty"] and not sys.stdin.isatty():
        raise InvalidArgument("the input device is not a TTY")
    made = await client.post(f"/containers/{reference}/exec", _request(command, given))
    path = f"/exec/{made['Id']}"
    if given["detach"]:
        await client.post(f"{path}/start", {"Detach": True, "Tty": given["tty"]})
        return
    reader, writer = await open_stream(client, f"{path}/start", {"Detach": False, "Tty": given["tty"]})
    try:
        async with lent_terminal(client, path, **given):
            await join(reader, writer, stdin=given["interactive"], terminal=given["tty"])
    finally:
        writer.close()
    code = (await client.get(f"{path}/json"))["ExitCode"]
    if code:
        raise click.exceptions.Exit(code)


def _request(command: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    files = [variable for path in given["env_file"] for variable in read_env_file(path, os.environ)]
    return {
        "AttachStdin": given["interactive"] and not given["detach"],
        "AttachStdout": not given["detach"],
        "AttachStderr": not given["detach"],
        "Cmd": list(command),
        "DetachKeys": given["detach_keys"],
        "Env": [*files, *given["env"]],
        "Privileged": given["privileged"],
        "Tty": given["tty"],
        "User": given["user"],
        "WorkingDir": given["workdir"],
    }


@asynccontextmanager
async def lent_terminal(client: Client, path: str, *, tty: bool, interactive: bool, **_: Any) -> AsyncIterator[None]:
    """Lend this terminal to what is at `path`, an exec or a container: its keys when there is input, and its size."""
    if not tty or not sys.stdin.isatty():
        yield
        return

    async def resize(lines: int, columns: int) -> None:
        with contextlib.suppress(ApiError):  # it has ended meanwhile
            await client.post(f"{path}/resize", params={"h": str(lines), "w": str(columns)})

    async with following_size(resize):
        with raw_terminal() if interactive else contextlib.nullcontext():
            yield


# This program's own standard input, output and terminal, joined to a stream of the engine's.


_CHUNK = 64 * 1024
_WAITING = 4

Resize = Callable[[int, int], Awaitable[None]]


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Pass every key on as it is pressed; the terminal is as before afterwards."""
    before = termios.tcgetattr(sys.stdin.fileno())
    tty.setraw(sys.stdin.fileno(), termios.TCSADRAIN)  # what was typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)


@asynccontextmanager
async def following_size(resize: Resize) -> AsyncIterator[None]:
    """Tell the size of this terminal (lines, columns), now and whenever it changes."""
    changed = asyncio.Event()
    changed.set()

    async def tell() -> None:
        while True:
            await changed.wait()
            changed.clear()
            size = os.get_terminal_size(sys.stdin.fileno())
            await resize(size.lines, size.columns)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, stdin: bool, terminal: bool) -> None:
    """Carry input there and output here until the other end is done."""
    sending = asyncio.create_task(_send(writer)) if stdin else None
    try:
        await (_print(reader) if terminal else _print_frames(reader))
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(writer: asyncio.StreamWriter) -> None:
    pieces: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
    # A read of standard input cannot be interrupted: the thread ends with the program.
    arguments = (asyncio.get_running_loop(), pieces)
    threading.Thread(target=_read_stdin, args=arguments, name="stdin", daemon=True).start()
    while data := await pieces.get():
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _read_stdin(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[bytes]) -> None:
    """Hand over what is read, an empty piece at the end; runs in a thread of its own."""
    data = b"more"
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants it any more
        while data:
            try:
                data = os.read(sys.stdin.fileno(), _CHUNK)
            except OSError:
                data = b""
            asyncio.run_coroutine_threadsafe(pieces.put(data), loop).result()


async def _print(reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_CHUNK):
        _write(sys.stdout.fileno(), data)


async def _print_frames(reader: asyncio.StreamReader) -> None:
    async for channel, piece in frames(reader):
        _write(sys.stderr.fileno() if channel == STDERR else sys.stdout.fileno(), piece)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
