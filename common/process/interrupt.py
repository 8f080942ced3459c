"""Work that is done whole or not at all, also when the user, or a signal, ends the program in the middle of it.

One Ctrl-C may come as two signals, and an impatient user sends more: what was begun is undone once, and in peace.
Outside of the main thread, where Python hears of no signal, only failures undo.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STDERR = 2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible(notice: str = "") -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at the first signal that would end this program, and ignore what follows.

    `notice` is what the user reads then. A signal that is ignored already, as nohup(1) has it, stays ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _ignore()
        if notice:
            os.write(_STDERR, f"{notice}\n".encode())  # print() may be what was interrupted
        raise KeyboardInterrupt

    with _handlers():
        for number in _handled_signals():
            signal.signal(number, interrupt)
        yield


@contextmanager
def attempt(undo: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Undo what the block began, and let no signal end that, unless it has called what this yields: its work stands."""
    stands = False

    def settle() -> None:
        nonlocal stands
        stands = True

    try:
        yield settle
    finally:
        if not stands:
            with _handlers():
                _ignore()
                undo()


@contextmanager
def _handlers() -> Iterator[None]:
    """Keep what signals do, for after the block."""
    before = {number: signal.getsignal(number) for number in _handled_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore() -> None:
    for number in _handled_signals():
        signal.signal(number, signal.SIG_IGN)


def _handled_signals() -> tuple[signal.Signals, ...]:
    if threading.current_thread() is not threading.main_thread():
        return ()
    return tuple(number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN)
