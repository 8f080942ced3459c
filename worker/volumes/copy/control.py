"""What a copying process and its parent say to each other: commands and reports, a line of JSON each."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Literal

import msgspec

from common.errors import InvalidArgument
from worker.volumes.copy.passes import Step

_LINE_BYTES = 64 * 1024


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """`bytes`: of `limit`, a second; 0 is no limit."""

    do: Literal["pass", "last", "verify", "limit", "stop"]
    bytes: float = 0


class Report(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """One of the below."""


class Ready(Report, frozen=True):
    """The sides know each other, and the sender what the receiver has."""


class Progress(Report, frozen=True, kw_only=True):
    """done, left: bytes of files that were, and are to be, read. seconds: until the pass ends, estimated."""

    number: int = msgspec.field(name="pass")
    done: int
    left: int
    files: int
    seconds: float


class Taken(Report, frozen=True, kw_only=True):
    """The last pass has read all that it copies: from now on programs may write again."""

    number: int = msgspec.field(name="pass")


class Passed(Report, frozen=True, kw_only=True):
    """sent, read: bytes. files: that were read. rest: estimated seconds of the last pass. digest: of a last pass."""

    number: int = msgspec.field(name="pass")
    sent: int
    read: int
    files: int
    seconds: float
    next: Step
    rest: float
    digest: str = ""


class Verified(Report, frozen=True):
    digest: str


class Archived(Report, frozen=True):
    """Bytes of an archive that was written, or read."""

    bytes: int


class Failed(Report, frozen=True):
    code: str
    message: str


class Stopped(Report, frozen=True):
    """The end that was asked for."""


AnyReport = Ready | Progress | Taken | Passed | Verified | Archived | Failed | Stopped

_ENCODER = msgspec.json.Encoder()
_COMMAND = msgspec.json.Decoder(Command)
_REPORT: msgspec.json.Decoder[AnyReport] = msgspec.json.Decoder(AnyReport)


def encode(line: Command | Report) -> bytes:
    return _ENCODER.encode(line) + b"\n"


def parse_report(line: bytes) -> AnyReport:
    """Read a report. Raises msgspec.MsgspecError."""
    return _REPORT.decode(line)


class Reporter:
    """Writes reports. A parent that is gone hears nothing; its commands end then, and that ends this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def report(self, report: Report) -> None:
        data = encode(report)
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except ConnectionError:
                return


def commands(descriptor: int) -> Iterator[Command]:
    """Yield commands until the parent closes their stream. Raises InvalidArgument."""
    # A parent that goes with reports unread resets it.
    with os.fdopen(descriptor, "rb", closefd=False) as lines, contextlib.suppress(ConnectionResetError):
        while line := lines.readline(_LINE_BYTES):
            try:
                yield _COMMAND.decode(line)
            except msgspec.MsgspecError as error:
                raise InvalidArgument(f"not a command: {error}") from error
