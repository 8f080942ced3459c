"""One half of a copy, from its descriptors to its last report."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InvalidArgument, SwarmError, Unavailable
from worker.volumes.copy.archive import export, restore
from worker.volumes.copy.control import (
    Archived,
    Failed,
    Passed,
    Progress,
    Ready,
    Reporter,
    Stopped,
    Taken,
    Verified,
    commands,
)
from worker.volumes.copy.entries import MIB
from worker.volumes.copy.index import Index
from worker.volumes.copy.messages import Failed as FailedMessage
from worker.volumes.copy.messages import Stop
from worker.volumes.copy.passes import Pass, Work, next_step, seconds_for
from worker.volumes.copy.receive import Receiver
from worker.volumes.copy.scan import identity
from worker.volumes.copy.send import Sender, Survey, Tally
from worker.volumes.copy.share import share_files
from worker.volumes.copy.stream import Inbox, Stream
from worker.volumes.copy.stream import Stopped as StoppedAsTold
from worker.volumes.copy.system import be_idle, bound_memory, keep_capabilities, read_only, sync_file_system
from worker.volumes.copy.walk import open_root, raise_open_files

_INDEX = "index.db"
_PROGRESS_SECONDS = 0.5
# A map of holes can be as long as an archive; those of files are short.
_ARCHIVE_MEMORY = 512 * MIB
STOPPED, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Options:
    """What a half is started with. The pairs are descriptors to read from and to write to."""

    folder: str
    work: Path | None
    peer: tuple[int, int]
    control: tuple[int, int]
    base: int = 0
    limit: float = 0
    max_downtime: float | None = None
    is_idle: bool = True
    like: str = ""


def send(options: Options) -> int:
    """Be the sender; return the exit status."""
    return _run(options, _send)


def receive(options: Options) -> int:
    """Be the receiver; return the exit status."""
    return _run(options, _receive)


def write_archive(options: Options) -> int:
    """Write the folder to the peer as an archive; return the exit status."""
    return _run(options, _write_archive)


def read_archive(options: Options) -> int:
    """Fill the folder from an archive of the peer; return the exit status."""
    return _run(options, _read_archive)


def _run(options: Options, part: Callable[[Options, int, Reporter], None]) -> int:
    reporter = Reporter(options.control[1])
    raise_open_files()
    os.umask(0)  # files are made with the mode that they are to have
    keep_capabilities()
    if options.is_idle:
        be_idle(True)
    try:
        with _opened(options.folder) as root:
            part(options, root, reporter)
    except StoppedAsTold:
        reporter.report(Stopped())
        return STOPPED
    except SwarmError as error:
        reporter.report(Failed(error.code, error.message))
        return FAILED
    except sqlite3.Error as error:
        reporter.report(Failed(Unavailable.code, f"the index of the copy, in {options.work}, cannot be kept: {error}"))
        return FAILED
    reporter.report(Stopped())
    return STOPPED


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    try:
        root = open_root(folder)
    except OSError as error:
        raise InvalidArgument(f"{folder} cannot be copied: {error.strerror}") from error
    try:
        yield root
    finally:
        os.close(root)


def _open_index(options: Options, root: int) -> Index:
    if options.work is None:
        raise InvalidArgument("a copy needs a folder for its index: --work")
    try:
        options.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(f"{options.work} cannot be used: {error.strerror}") from error
    return Index(options.work / _INDEX, identity(root, options.base))


def _leave_when_told(control: int, reporter: Reporter) -> None:
    """End this process when its parent says so, or is gone: at any moment, which it must stand anyway."""
    for command in commands(control):
        if command.do == "stop":
            break
    reporter.report(Stopped())
    os._exit(STOPPED)


def _start(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()


# --- archives ---------------------------------------------------------------------------------------------------------


def _write_archive(options: Options, root: int, reporter: Reporter) -> None:
    _start(lambda: _leave_when_told(options.control[0], reporter))
    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        written += len(data)
        try:
            while data:
                data = data[os.write(options.peer[1], data) :]
        except OSError as error:
            raise Unavailable(f"the receiver of the archive is gone: {error.strerror}") from error

    with read_only(root) as source:
        export(source, options.base, write)
    reporter.report(Archived(written))


def _read_archive(options: Options, root: int, reporter: Reporter) -> None:
    _start(lambda: _leave_when_told(options.control[0], reporter))
    bound_memory(_ARCHIVE_MEMORY)
    with os.fdopen(options.peer[0], "rb", closefd=False) as archive:
        length = restore(root, options.base, archive.read)
    sync_file_system(root)
    reporter.report(Archived(length))


# --- the receiver -----------------------------------------------------------------------------------------------------


def _receive(options: Options, root: int, reporter: Reporter) -> None:
    _start(lambda: _leave_when_told(options.control[0], reporter))
    stream = Stream(*options.peer)
    if options.like:
        with _opened(options.like) as like:
            share_files(like, root, options.base)
    with contextlib.closing(_open_index(options, root)) as index:
        _serve(options, root, index, stream)


def _serve(options: Options, root: int, index: Index, stream: Stream) -> None:
    receiver = Receiver(root, index, stream, options.base, is_idle=options.is_idle)
    try:
        receiver.run()
    except SwarmError as error:
        stream.farewell(FailedMessage(error.code, error.message))
        raise
    finally:
        receiver.close()


# --- the sender -------------------------------------------------------------------------------------------------------


def _send(options: Options, root: int, reporter: Reporter) -> None:
    with read_only(root) as source, contextlib.closing(_open_index(options, source)) as index:
        _lead(options, source, index, reporter)


def _lead(options: Options, root: int, index: Index, reporter: Reporter) -> None:
    stream = Stream(*options.peer)
    stream.limit(options.limit)
    inbox = Inbox(stream)
    sender = Sender(root, index, stream, inbox, options.base)
    try:
        _start(lambda: inbox.hear_parent(commands(options.control[0])))
        sender.greet()
        _start(inbox.hear_receiver)
        reporter.report(Ready())
        _Sending(options, sender, inbox, reporter).run()
    except StoppedAsTold:
        stream.farewell(Stop())
        raise
    except SwarmError as error:
        stream.farewell(FailedMessage(error.code, error.message))
        raise
    finally:
        sender.close()


class _Sending:
    """Makes passes as the parent wants them, and says what is left after each."""

    def __init__(self, options: Options, sender: Sender, inbox: Inbox, reporter: Reporter) -> None:
        self._options = options
        self._sender = sender
        self._inbox = inbox
        self._reporter = reporter
        self._made: list[Pass] = []
        self._number = 0
        self._survey: Survey | None = None

    def run(self) -> None:
        while True:
            command = self._inbox.command()
            if command.do == "verify":
                self._reporter.report(Verified(self._sender.verify().hex()))
            else:
                self._pass(last=command.do == "last")

    def _pass(self, *, last: bool) -> None:
        self._number += 1
        if self._options.is_idle:
            be_idle(not last)
        self._sender.renew_reader()
        survey = self._survey or self._sender.survey()
        began = time.monotonic()
        tick = _Ticker(self._reporter, self._number, survey.work, self._made, began)
        tally, digest = self._sender.make_pass(
            last, survey.room, tick, lambda: self._reporter.report(Taken(number=self._number))
        )
        seconds = time.monotonic() - began - tally.settling
        # After the last pass nothing is to change. If it does all the same, the next pass looks again.
        self._survey = None if last else self._sender.survey()
        left = self._survey.work if self._survey is not None else Work(0, 0)
        self._made.append(Pass(Work(tally.files, tally.read, survey.work.looking), seconds, left))
        self._reporter.report(
            Passed(
                number=self._number,
                sent=tally.sent,
                read=tally.read,
                files=tally.files,
                seconds=seconds,
                next="last" if last else next_step(self._made, self._options.max_downtime),
                rest=seconds_for(left, self._made),
                digest=digest.hex(),
            )
        )


class _Ticker:
    """Reports progress now and then."""

    def __init__(self, reporter: Reporter, number: int, work: Work, made: Sequence[Pass], began: float) -> None:
        self._reporter = reporter
        self._number = number
        self._work = work
        self._made = tuple(made)
        self._began = began
        self._next = began + _PROGRESS_SECONDS

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PROGRESS_SECONDS
        left = Work(max(0, self._work.files - tally.files), max(0, self._work.read - tally.read))
        so_far = Pass(Work(tally.files, tally.read), now - self._began, left)
        seconds = seconds_for(left, [*self._made, so_far])
        self._reporter.report(
            Progress(number=self._number, done=tally.read, left=left.read, files=tally.files, seconds=seconds)
        )
