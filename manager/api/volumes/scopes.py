"""Warnings about volumes that may be a mistake: shared by several tasks, or a new one for each task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from common.model.service import ServiceSpec
from common.spec.volumes import SCOPE_LABEL, scope_of, snapshot_of
from common.text.terminal import printable


def unscoped(spec: ServiceSpec, before: ServiceSpec | None = None) -> tuple[str, ...]:
    """Return warnings of volumes that are another one on each node, unless that was so before the change."""
    names = _unscoped(spec) - (_unscoped(before) if before is not None else set())
    return tuple(
        f"each node has a volume {name} of its own, which its tasks share: say what is meant with the volume's label "
        f"{SCOPE_LABEL} (in a compose file x-swarm-scope), which is slot, one, node or shared"
        for name in sorted(names)
    )


def unmounted(spec: ServiceSpec, declared: Iterable[str]) -> tuple[str, ...]:
    """Return warnings of paths that an image declares as volumes (`declared`) and the service does not mount."""
    container = spec.task_template.container_spec
    mounts = container.mounts if container is not None else ()
    mounted = {PurePosixPath(mount.target) for mount in mounts}
    return tuple(
        f"the image keeps data in {printable(path, 200)}, where nothing is mounted: each task has a new, empty volume "
        "there; mount a named volume to keep what is in it"
        for path in sorted(declared)
        if PurePosixPath(path) not in mounted
    )


def _unscoped(spec: ServiceSpec) -> set[str]:
    container = spec.task_template.container_spec
    several = spec.mode.replicated is not None and spec.mode.replicas > 1
    mounts = container.mounts if container is not None and several else ()
    named = (mount for mount in mounts if mount.type == "volume" and mount.source and "{{" not in mount.source)
    return {mount.source for mount in named if not scope_of(mount) and not snapshot_of(mount)}
