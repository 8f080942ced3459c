"""Which resources a task may ask for."""

from __future__ import annotations

from common.errors import InvalidArgument
from common.model.service import GenericResource, Limits, Reservations, Resources
from manager.api.errors import invalid
from manager.state.reservations import by_name

MIN_NANO_CPUS = 1_000_000
MIN_MEMORY_BYTES = 4 * 1024 * 1024


def check_resources(resources: Resources | None) -> None:
    """Refuse what no engine can enforce: under 0.001 of a core, under 4 MiB (swarmkit `controlapi/service.go`).

    Raises:
        InvalidArgument: in the engine's words.
        EngineError: 400; the message names the field.

    """
    if resources is None:
        return
    for part in (resources.limits, resources.reservations):
        if part is not None:
            _check_amounts(part)
    if resources.reservations is not None:
        _check_generic(resources.reservations.generic_resources)
        for kind, names in by_name(resources.reservations).items():
            if len(set(names)) < len(names):
                raise invalid(f"Reservations.GenericResources: {kind} has the same name twice")


def _check_amounts(part: Limits | Reservations) -> None:
    if part.nano_cpus and part.nano_cpus < MIN_NANO_CPUS:
        raise InvalidArgument(f"invalid cpu value {part.nano_cpus / 1e9:g}: Must be at least {MIN_NANO_CPUS / 1e9:g}")
    if part.memory_bytes and part.memory_bytes < MIN_MEMORY_BYTES:
        raise InvalidArgument(f"invalid memory value {part.memory_bytes}: Must be at least 4MiB")


def _check_generic(resources: tuple[GenericResource, ...]) -> None:
    for resource in resources:
        named, discrete = resource.named_resource_spec, resource.discrete_resource_spec
        if named is not None and discrete is None and named.kind and named.value:
            continue
        if named is not None or discrete is None or not discrete.kind or discrete.value < 0:
            raise invalid(
                "Reservations.GenericResources: expected {'DiscreteResourceSpec': {'Kind': K, 'Value': N}}, or "
                "{'NamedResourceSpec': {'Kind': K, 'Value': NAME}}"
            )
