"""The volumes of simulated hosts, in which containers count, and a ledger of what was acknowledged.

A container that has a volume adds one to its slot's number there, again and again, and each new number is acknowledged
to somebody. The next container of the slot must find the last acknowledged number, and none may write beside another.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from common.clock import LoopClock
from common.model import Task
from common.model.node import NodeDescription
from common.spec.slot_volumes import slot_volumes, snapshot_name
from common.spec.task_templates import context, expand_spec
from common.spec.volumes import snapshot_of
from common.wire.volume_copy import SeenVolume, VolumeReport

WRITE_SECONDS = 0.25


@dataclass
class Ledger:
    """What slots were told to have written, over all hosts. `excused` are slots whose data an operator gave up."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    writers: dict[str, str] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    starts: int = 0
    snapshots: int = 0
    broken: list[str] = field(default_factory=list)

    def give_up(self, key: str) -> None:
        """Hear that an operator has said that this data may start empty."""
        del self.acknowledged[key]

    def say(self, problem: str) -> None:
        self.broken.append(f"{LoopClock().now():.2f} {problem}")


@dataclass
class SimVolume:
    """A volume, in which each slot has a number. `task`: it is a snapshot for the task with this id."""

    data_id: str
    generation: int = 1
    numbers: Counter[str] = field(default_factory=Counter)
    task: str = ""


class Disk:
    """One host's volumes, by name."""

    def __init__(self, node_id: str, rng: random.Random, ledger: Ledger) -> None:
        self.volumes: dict[str, SimVolume] = {}
        self.ledger = ledger
        self._node_id = node_id
        self._rng = rng

    def report(self) -> VolumeReport:
        seen = (
            SeenVolume(name=name, data_id=each.data_id, generation=each.generation)
            for name, each in self.volumes.items()
        )
        return VolumeReport(volumes=tuple(seen))

    def prepare(self, task: Task) -> str:
        """Do as a worker and its engine at a container's creation: look, then make what is missing; say why not."""
        for wanted in task.volumes:
            found = self.volumes.get(wanted.name)
            if found is None or (found.data_id, found.generation) != (wanted.data_id, wanted.generation):
                return f"volume {wanted.name} has not the data that it is to have"
        assert task.spec.container_spec is not None
        expanded = expand_spec(task.spec.container_spec, context(task, self._node_id, NodeDescription()))
        for mount in expanded.mounts:
            name = snapshot_name(task.id, mount.source) if snapshot_of(mount) else mount.source
            if name in self.volumes and not self.volumes[name].generation:
                return f"volume {name} is not whole"
            if name not in self.volumes and snapshot_of(mount):
                return f"the snapshot of volume {mount.source} that was made for the task is gone"
        for mount in expanded.mounts:
            if snapshot_of(mount):
                self.ledger.snapshots += 1
            elif mount.type == "volume" and mount.source not in self.volumes:
                self.volumes[mount.source] = SimVolume(f"{self._rng.getrandbits(128):032x}")
        return ""

    def remove_snapshots(self, task_id: str) -> None:
        """Remove those of a task, as a worker does with it."""
        for name in [name for name, each in self.volumes.items() if each.task == task_id]:
            del self.volumes[name]

    def check_still(self, source: str, snapshot: str) -> None:
        """Check, when a copy is to count for which tasks stopped, that none writes, and that it has all they wrote."""
        writers = [
            who
            for key, who in self.ledger.writers.items()
            if key.partition("/")[2] == source and who.endswith(f" on {self._node_id}")
        ]
        if writers:
            self.ledger.say(f"{snapshot} is a copy of {source}, to which {', '.join(writers)} writes")
        numbers = [self.volumes[name].numbers for name in (source, snapshot) if name in self.volumes]
        if any(each != numbers[0] for each in numbers):
            self.ledger.say(f"{snapshot} is a copy of {source} and has other numbers: {numbers}")

    @contextmanager
    def writing(self, task: Task) -> Iterator[None]:
        """Let a container write while the block lasts."""
        if not slot_volumes(task):
            yield
            return
        writer = asyncio.create_task(self._write(task), name=f"write-{task.id}")
        try:
            yield
        finally:
            writer.cancel()

    async def _write(self, task: Task) -> None:
        ledger = self.ledger
        keys = {f"{task.service_name}.{task.slot}/{each.name}": each.name for each in slot_volumes(task)}
        keys = {key: name for key, name in keys.items() if task.service_name not in ledger.fresh}
        for key, name in keys.items():
            ledger.starts += 1
            found, last = self.volumes[name].numbers[key], ledger.acknowledged[key]
            if found != last:
                ledger.say(f"{task.id} starts on {self._node_id} with {found} in {name}, and {last} was acknowledged")
            if key in ledger.writers:
                ledger.say(f"{task.id} on {self._node_id} writes to {name} while {ledger.writers[key]} does")
            ledger.writers[key] = f"{task.id} on {self._node_id}"
        try:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                for key, name in keys.items():
                    if name in self.volumes:
                        ledger.acknowledged[key] += 1
                        self.volumes[name].numbers[key] = ledger.acknowledged[key]
        finally:
            for key in keys:
                ledger.writers.pop(key, None)
