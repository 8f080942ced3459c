"""The end of a failed container's log, for its task's status: a few printable lines. Pure.

It goes to the manager's store and to whoever may list tasks, so a service whose programs write secrets to their output
turns it off by its label `swarm.x.last-words: "0"`.
"""

from __future__ import annotations

from collections.abc import Iterator

from common.model.service import EXTENSION_PREFIX
from common.model.task import Task

LABEL = EXTENSION_PREFIX + "last-words"
LINES = 3
LONGEST = 512
_HEADER = 8


def log_tail_lines(task: Task) -> int:
    """Return how many lines a task's status is to have; 0 for none. The manager has checked the label's value."""
    text = task.labels.get(LABEL, "")
    return int(text) if text.isdecimal() else LINES


def with_log_tail(err: str, logs: bytes, lines: int) -> str:
    """Return an error followed by the container's last lines, of which at most `LONGEST` bytes are kept: the end."""
    words = " | ".join([line for raw in output(logs).splitlines() if (line := _printable(raw))][-lines:])
    cut = words.encode()[-LONGEST:].decode(errors="ignore")
    return f"{err}: {cut}" if cut else err


def output(logs: bytes) -> str:
    """Read an engine's answer for logs: frames of standard output and error, or, of a terminal, as it is."""
    framed = len(logs) >= _HEADER and logs[0] in (1, 2) and logs[1:4] == bytes(3)
    return (b"".join(_frames(logs)) if framed else logs).decode(errors="replace")


def _frames(logs: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEADER <= len(logs):
        size = int.from_bytes(logs[at + 4 : at + _HEADER], "big")
        yield logs[at + _HEADER : at + _HEADER + size]
        at += _HEADER + size


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line).strip()
