"""What a task's named volumes are called, so that all tasks of its slot find the same data. Pure.

The manager places tasks by these names, and the worker mounts what they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common.model.container import ContainerSpec, Mount
from common.model.node import NodeDescription
from common.model.task import Task
from common.spec.gotemplate import Budget, TemplateError, render
from common.spec.task_templates import context
from common.spec.volumes import scope_of, snapshot_of, with_slot

# What the template of a name may take: the scheduler asks often.
_STEPS, _CHARACTERS = 1000, 64 * 1024


@dataclass(frozen=True, slots=True)
class SlotVolume:
    """A named volume of a task whose data is one node's. `scope` is empty, `slot` or `one` (docs/volumes.md).

    `target` is the first path where the container has it.
    """

    name: str
    scope: str = ""
    target: str = field(default="", compare=False)


def named_mounts(spec: ContainerSpec | None) -> Iterator[Mount]:
    """Yield the mounts of a container that are volumes with a name."""
    for mount in spec.mounts if spec is not None else ():
        if mount.type == "volume" and mount.source:
            yield mount


def differ_by_slot(task: Task) -> bool:
    """Whether the names of a task's volumes may be others for another task of its specification."""
    return any("{{" in mount.source or scope_of(mount) == "slot" for mount in named_mounts(task.spec.container_spec))


def slot_volumes(task: Task) -> tuple[SlotVolume, ...]:
    """List the named volumes of a task that are the same for all tasks of its slot, and whose data is one node's.

    None of a global service: its slots are nodes. Not those of scope `node` or `shared`, nor with names that the node
    or the task itself is part of, nor what the task has a snapshot of.
    """
    if not task.slot:
        return ()
    found = []
    for mount in named_mounts(task.spec.container_spec):
        scope = scope_of(mount)
        mine = scope not in ("node", "shared") and not snapshot_of(mount)
        name = _name(mount.source, task) if mine else ""
        if name:
            found.append(SlotVolume(with_slot(name, scope, task.slot), scope, mount.target))
    return tuple(found)


def has_snapshots(task: Task) -> bool:
    """Whether a task mounts snapshots of volumes."""
    return any(snapshot_of(mount) for mount in named_mounts(task.spec.container_spec))


def snapshot_sources(task: Task) -> tuple[str, ...]:
    """Name the volumes of which a task mounts snapshots: it has to be where they are. None of a global service."""
    return _sources(task, (mount for mount in named_mounts(task.spec.container_spec) if snapshot_of(mount)))


def stopped_sources(task: Task) -> tuple[str, ...]:
    """Name those of `snapshot_sources` whose tasks stop for the snapshot."""
    return _sources(task, (mount for mount in named_mounts(task.spec.container_spec) if snapshot_of(mount) == "stop"))


def snapshot_name(task_id: str, source: str) -> str:
    """Return what a task's snapshot of a volume is called."""
    return f"{source}.{task_id}"


def _sources(task: Task, mounts: Iterable[Mount]) -> tuple[str, ...]:
    names = (with_slot(_name(mount.source, task), scope_of(mount), task.slot) for mount in mounts)
    return tuple(name for name in names if name) if task.slot else ()


def _name(source: str, task: Task) -> str:
    """Return a volume's name for a slot, empty where its tasks do not all have the same on all nodes."""
    if "{{" not in source:
        return source
    try:
        one, other = (render(source, _dot(task, word), Budget(_STEPS, _CHARACTERS)) for word in ("one", "other"))
    except TemplateError:
        return ""
    return one if one == other else ""


def _dot(task: Task, word: str) -> dict[str, Any]:
    return context(msgspec.structs.replace(task, id=word), word, NodeDescription(hostname=word))
