"""Which resources a task may ask for."""

from __future__ import annotations

from common.errors import InvalidArgument
from common.model.service import GenericResource, Limits, Reservations, Resources
from manager.api.errors import invalid

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


def _check_amounts(part: Limits | Reservations) -> None:
    if part.nano_cpus and part.nano_cpus < MIN_NANO_CPUS:
        raise InvalidArgument(f"invalid cpu value {part.nano_cpus / 1e9:g}: Must be at least {MIN_NANO_CPUS / 1e9:g}")
    if part.memory_bytes and part.memory_bytes < MIN_MEMORY_BYTES:
        raise InvalidArgument(f"invalid memory value {part.memory_bytes}: Must be at least 4MiB")


def _check_generic(resources: tuple[GenericResource, ...]) -> None:
    for resource in resources:
        if resource.named_resource_spec is not None:
            raise invalid("Reservations.GenericResources: only DiscreteResourceSpec may be asked for by a service")
        discrete = resource.discrete_resource_spec
        if discrete is None or not discrete.kind or discrete.value < 0:
            raise invalid("Reservations.GenericResources: expected {'DiscreteResourceSpec': {'Kind': K, 'Value': N}}")
