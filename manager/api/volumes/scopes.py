"""Services that share volumes by accident: several tasks, and nobody has said whose data it is."""

from __future__ import annotations

from common.model.service import ServiceSpec
from common.spec.volumes import SCOPE_LABEL, scope_of, snapshot_of


def unscoped(spec: ServiceSpec, before: ServiceSpec | None = None) -> tuple[str, ...]:
    """Warn of volumes of which each node with tasks has one of its own, unless that was so before the change."""
    names = _unscoped(spec) - (_unscoped(before) if before is not None else set())
    return tuple(
        f"volume {name} is another one on each node, and tasks on one node share it: say what is meant with the label "
        f"{SCOPE_LABEL} of the volume, which is slot, one, node or shared"
        for name in sorted(names)
    )


def _unscoped(spec: ServiceSpec) -> set[str]:
    container = spec.task_template.container_spec
    several = spec.mode.replicated is not None and spec.mode.replicas > 1
    mounts = container.mounts if container is not None and several else ()
    named = (mount for mount in mounts if mount.type == "volume" and mount.source and "{{" not in mount.source)
    return {mount.source for mount in named if not scope_of(mount) and not snapshot_of(mount)}
