"""This program's own standard input, output and terminal, joined to a stream of the engine's."""

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

from manager.cli.container.streams import STDERR, frames

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
    with contextlib.suppress(RuntimeError):  # the loop is closed: it is no longer wanted
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
