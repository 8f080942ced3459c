"""Both halves of a copy in this process, over a socket pair, for tests that look at every step."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from common.errors import SwarmError
from worker.volumes.copy.index import Index
from worker.volumes.copy.messages import Failed, Stop
from worker.volumes.copy.receive import Receiver
from worker.volumes.copy.scan import Moment, identity, unsettled_moment
from worker.volumes.copy.send import Sender, Tally
from worker.volumes.copy.stream import Inbox, Stream
from worker.volumes.copy.walk import open_root

_CLOCK_TICK_NS = 20_000_000


def tick_moment(_folder: int) -> Moment:
    """Settle what is older than a tick of the file system's clock: right where nothing is stored through mmap."""
    return Moment(time.time_ns() - _CLOCK_TICK_NS, unsettled_moment().clock)


class Half:
    """A receiver in a thread of its own, and how it ended."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(run,))
        self._thread.start()

    def _run(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001  # told by `join`
            self.error = error

    def join(self) -> None:
        self._thread.join()


class Session:
    """A sender, and the receiver that it talks to."""

    def __init__(self, sender: Sender, receiver: Half) -> None:
        self.sender = sender
        self.receiver = receiver

    def copy(self, *, last: bool = False, tick: Callable[[Tally], None] = lambda _: None) -> bytes:
        _, digest = self.sender.make_pass(last, self.sender.survey().room, tick)
        return digest


@contextlib.contextmanager
def receiving(target: Path, work: Path, end: socket.socket, base: int = 0) -> Iterator[Half]:
    """Run a receiver until its stream ends."""
    stream = Stream(end.fileno(), end.fileno())

    def run() -> None:
        root = open_root(str(target))
        index = Index(work / "received.db", identity(root, base))
        receiver = Receiver(root, index, stream, base)
        try:
            receiver.run()
        except SwarmError as error:
            stream.farewell(Failed(error.code, error.message))
            raise
        finally:
            receiver.close()
            index.close()
            end.close()

    half = Half(run)
    try:
        yield half
    finally:
        half.join()


@contextlib.contextmanager
def session(
    source: Path,
    target: Path,
    work: Path,
    begin: Callable[[int], Moment] = tick_moment,
    bases: tuple[int, int] = (0, 0),
) -> Iterator[Session]:
    """Run a session of two folders, whose indexes are in `work`."""
    near, far = socket.socketpair()
    with receiving(target, work, far, bases[1]) as half, near:
        stream = Stream(near.fileno(), near.fileno())
        root = open_root(str(source))
        index = Index(work / "sent.db", identity(root, bases[0]))
        inbox = Inbox(stream)
        sender = Sender(root, index, stream, inbox, bases[0], begin)
        hearing = threading.Thread(target=inbox.hear_receiver)
        try:
            sender.greet()
            hearing.start()
            yield Session(sender, half)
        finally:
            stream.farewell(Stop())
            near.shutdown(socket.SHUT_WR)
            if hearing.ident is not None:
                hearing.join()
            sender.close()
            index.close()
