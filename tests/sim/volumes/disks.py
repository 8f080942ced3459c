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
from common.spec.slot_volumes import named_mounts, slot_volumes
from common.spec.task_templates import context, expand_spec
from common.wire.volume_copy import SeenVolume, VolumeReport

WRITE_SECONDS = 0.25


@dataclass
class Ledger:
    """What slots were told to have written, over all hosts. `excused` are slots whose data an operator gave up."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    writers: dict[str, str] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    starts: int = 0
    broken: list[str] = field(default_factory=list)

    def give_up(self, key: str) -> None:
        """Hear that an operator has said that this data may start empty."""
        del self.acknowledged[key]

    def say(self, problem: str) -> None:
        self.broken.append(f"{LoopClock().now():.2f} {problem}")


@dataclass
class SimVolume:
    data_id: str
    generation: int = 1
    numbers: Counter[str] = field(default_factory=Counter)


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
            if mount.source in self.volumes and not self.volumes[mount.source].generation:
                return f"volume {mount.source} is not whole"
        for mount in expanded.mounts:
            if mount.type == "volume" and mount.source not in self.volumes:
                self.volumes[mount.source] = SimVolume(f"{self._rng.getrandbits(128):032x}")
        return ""

    @contextmanager
    def writing(self, task: Task) -> Iterator[None]:
        """Let a container write while the block lasts."""
        if not any(named_mounts(task)):
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
