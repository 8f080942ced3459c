"""A task's row names its specification, which is a row of its own: all tasks that have it share it.

Of a task's record more than two thirds are its service's specification. It is stored under a digest of itself, so a
task is never given another one, and what no task names any more can go.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from common.model import Task
from common.model.service import TaskSpec

# What a specification's row is called in the file.
KIND = "spec"
_ID_BYTES = 16
_NO_SPEC = TaskSpec()
_TASKS = msgspec.msgpack.Decoder(Task)
_SPECS = msgspec.msgpack.Decoder(TaskSpec)


class Referring(NamedTuple):
    """A task as a row: its specification's id (hexadecimal) and encoding, and the body that names that."""

    spec_id: str
    spec: bytes
    body: bytes


class Referrer:
    """Makes rows of the tasks of one commit. Equal tasks make equal rows."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._known: dict[int, tuple[TaskSpec, bytes, bytes]] = {}

    def refer(self, task: Task) -> Referring:
        spec, encoded, digest = self._known.get(id(task.spec)) or self._digested(task.spec)
        self._known[id(spec)] = spec, encoded, digest
        body = digest + self._encode(msgspec.structs.replace(task, spec=_NO_SPEC))
        return Referring(digest.hex(), encoded, body)

    def _digested(self, spec: TaskSpec) -> tuple[TaskSpec, bytes, bytes]:
        encoded = self._encode(spec)
        return spec, encoded, blake2b(encoded, digest_size=_ID_BYTES).digest()


def refer_body(body: bytes) -> Referring:
    """Make the row of a task that was stored with its specification in it.

    Raises:
        MsgspecError: it is not one.

    """
    return Referrer().refer(_TASKS.decode(body))


def read_spec(body: bytes) -> TaskSpec:
    """Read a specification's row.

    Raises:
        MsgspecError: it is not one.

    """
    return _SPECS.decode(body)


def named_spec(body: bytes) -> str:
    """Return the id of the specification that a task's row names."""
    return body[:_ID_BYTES].hex()


def read_task(body: bytes, spec: TaskSpec) -> Task:
    """Read a task's row, which names this specification.

    Raises:
        MsgspecError: it is not one.

    """
    return msgspec.structs.replace(_TASKS.decode(memoryview(body)[_ID_BYTES:]), spec=spec)
