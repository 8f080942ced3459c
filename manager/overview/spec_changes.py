"""What differs between two specifications of a service, in words. Pure.

Values are told where they are short and no secret: image, replicas, resources. Of all else, of environment variables
above all, only names are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from common.model.container import ContainerSpec
from common.model.service import PortConfig, Resources, ServiceSpec
from common.text.quantities import human_size
from manager.overview.rows import short_image

_MOST_NAMED = 6
_CPU = 1_000_000_000
# Fields whose differences are told in words of their own.
_TOLD = frozenset({"image", "env", "labels", "resources", "container_spec", "task_template", "mode", "endpoint_spec"})
_COUNTERS = frozenset({"force_update"})


def spec_changes(old: ServiceSpec, new: ServiceSpec) -> Iterator[str]:
    """Yield a phrase for each thing that differs."""
    was, now = old.task_template, new.task_template
    yield from _of_container(was.container_spec or ContainerSpec(), now.container_spec or ContainerSpec())
    if old.mode != new.mode:
        yield f"replicas {_count(old)} → {_count(new)}"
    yield from _of_resources(was.resources or Resources(), now.resources or Resources())
    yield from _names("labels", old.labels, new.labels)
    if set(old.ports) != set(new.ports):
        yield f"ports {_ports(old.ports)} → {_ports(new.ports)}"
    elif old.endpoint_spec != new.endpoint_spec:
        yield "endpoint"
    if was.force_update != now.force_update:
        yield "its tasks are to be replaced"
    rest = [*_fields(was, now), *_fields(old, new)]
    if rest:
        yield _listed(rest)


def _of_container(old: ContainerSpec, new: ContainerSpec) -> Iterator[str]:
    if old.image != new.image:
        was, now = short_image(old.image), short_image(new.image)
        yield f"image {was} → {now}" if was != now else f"image {now}, of other content"
    yield from _names("environment", _variables(old.env), _variables(new.env))
    yield from _names("container labels", old.labels, new.labels)
    rest = list(_fields(old, new))
    if rest:
        yield _listed(rest)


def _of_resources(old: Resources, new: Resources) -> Iterator[str]:
    for what, was, now in (("limit", old.limits, new.limits), ("reservation", old.reservations, new.reservations)):
        cpus = (was.nano_cpus if was else 0, now.nano_cpus if now else 0)
        memory = (was.memory_bytes if was else 0, now.memory_bytes if now else 0)
        if cpus[0] != cpus[1]:
            yield f"CPU {what} {cpus[0] / _CPU:g} → {cpus[1] / _CPU:g}"
        if memory[0] != memory[1]:
            yield f"memory {what} {human_size(memory[0])} → {human_size(memory[1])}"


def _count(spec: ServiceSpec) -> str:
    if spec.mode.replicated_job is not None:
        return str(spec.mode.replicated_job.total)
    return str(spec.mode.replicas)


def _ports(ports: Iterable[PortConfig]) -> str:
    return ", ".join(f"{port.published_port or '*'}:{port.target_port}/{port.protocol}" for port in ports) or "none"


def _variables(env: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in env)}


def _names(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    changed = sorted(name for name in {**old, **new} if old.get(name) != new.get(name))
    if changed:
        yield f"{what}: {_listed(changed)}"


def _fields(old: msgspec.Struct, new: msgspec.Struct) -> Iterator[str]:
    """Name the fields that differ, in words; those that are told otherwise are left out."""
    for name in old.__struct_fields__:
        was: Any = getattr(old, name)
        if name not in _TOLD and name not in _COUNTERS and was != getattr(new, name):
            yield name.replace("_", " ")


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
