"""Tasks as values in etcd: whole, or from level `SPECS_ONCE` on with the name of a specification that is stored once.

A specification is stored under a digest of itself, by the commit of the first task that names it. One that no task
named when this manager has loaded the store, or named since, is removed by its next commit. Tasks that are still whole
are written anew, some with each commit. What is known of rows is as of what was loaded, followed, and confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from common.model import Task
from common.model.service import TaskSpec
from manager.store.backends.schema import Referrer, named_spec, read_spec, read_task
from manager.store.levels import SPECS_ONCE

# A value that begins with it names its specification: msgpack never uses this byte.
_NAMES_SPEC = b"\xc1"
# How many complete rows are rewritten with a commit.
_REWRITTEN_OF_COMMIT = 100
_TASKS = msgspec.msgpack.Decoder(Task)
_ENCODE = msgspec.msgpack.Encoder().encode


class NoSpec(msgspec.MsgspecError):
    """A task's value names a specification that is not stored."""


@dataclass(slots=True)
class Written:
    """What one commit writes of tasks: `tasks` the values by task id, `specs` those of specifications by their id.

    `removed` are the ids of specifications that go, `gone` those of tasks. `whole` are the tasks that are written so,
    `named` the specifications of all others by their id.
    """

    gone: Collection[str]
    tasks: dict[str, bytes] = field(default_factory=dict)
    specs: dict[str, bytes] = field(default_factory=dict)
    removed: Collection[str] = ()
    whole: dict[str, Task] = field(default_factory=dict)
    named: dict[str, TaskSpec] = field(default_factory=dict)


class TaskRows:
    """What is known of the rows of tasks and specifications."""

    def __init__(self) -> None:
        self._specs: dict[str, TaskSpec] = {}
        self._unnamed: set[str] = set()
        self._whole: dict[str, Task] = {}

    # --- what is read -------------------------------------------------------------------------------------------------

    def put_spec(self, spec_id: str, value: bytes) -> None:
        """Read a specification's value.

        Raises:
            MsgspecError: it is not one.

        """
        self._specs[spec_id] = read_spec(value)
        self._unnamed.add(spec_id)

    def remove_spec(self, spec_id: str) -> None:
        self._specs.pop(spec_id, None)
        self._unnamed.discard(spec_id)

    def put(self, task_id: str, value: bytes) -> Task:
        """Read a task's value.

        Raises:
            MsgspecError: it is not one, or names a specification that is not there.

        """
        if not value.startswith(_NAMES_SPEC):
            task = self._whole[task_id] = _TASKS.decode(value)
            return task
        self._whole.pop(task_id, None)
        body = value[len(_NAMES_SPEC) :]
        spec_id = named_spec(body)
        spec = self._specs.get(spec_id)
        if spec is None:
            raise NoSpec(f"specification {spec_id} is missing")
        self._unnamed.discard(spec_id)
        return read_task(body, spec)

    def remove(self, task_id: str) -> None:
        self._whole.pop(task_id, None)

    # --- what is written ----------------------------------------------------------------------------------------------

    def write(self, changed: Mapping[str, Task], gone: Collection[str], level: int, room: int) -> Written:
        """Return what a commit writes of tasks that have changed, and of at most `room` others that are still whole.

        `gone` are the ids of tasks that it removes.
        """
        written = Written(gone)
        if level < SPECS_ONCE:
            written.whole.update(changed)
            written.tasks.update((task_id, _ENCODE(task)) for task_id, task in changed.items())
            return written
        others = (task for task_id, task in self._whole.items() if task_id not in changed and task_id not in gone)
        referrer = Referrer()
        for task in (*changed.values(), *islice(others, max(0, min(room, _REWRITTEN_OF_COMMIT)))):
            row = referrer.refer(task)
            written.tasks[task.id] = _NAMES_SPEC + row.body
            written.named[row.spec_id] = task.spec
            if row.spec_id not in self._specs:
                written.specs[row.spec_id] = row.spec
        written.removed = self._unnamed - written.named.keys()
        return written

    def stored(self, written: Written) -> None:
        """Hear that a commit was stored."""
        for task_id in (*written.tasks, *written.gone):
            self._whole.pop(task_id, None)
        self._whole.update(written.whole)
        self._specs |= written.named
        self._unnamed -= written.named.keys()
        for spec_id in written.removed:
            self.remove_spec(spec_id)
