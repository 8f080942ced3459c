"""What clients may say of an autoscaled service's number of tasks, and what they are told of it.

The number is the manager's to choose, between the limits of `swarm.x.autoscale`. A client that names another one
scales by hand: it takes effect at once, within the limits. One that repeats the present number, or names none, changes
nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import rfc3339
from common.errors import FailedPrecondition
from common.model import Service
from common.model.service import STACK_LABEL, AutoscaleStatus, ServiceSpec
from manager.api.context import Context
from manager.api.errors import invalid
from manager.orchestrate import autoscaling
from manager.state import autoscale
from manager.state.autoscale import LABEL, Policy

_RESERVATION = {
    "cpu": "TaskTemplate.Resources.Reservations.NanoCPUs (--reserve-cpu, deploy.resources.reservations.cpus)",
    "memory": "TaskTemplate.Resources.Reservations.MemoryBytes (--reserve-memory, …reservations.memory)",
}


def check_autoscaling(spec: ServiceSpec) -> None:
    """Refuse a policy that the service cannot follow.

    Raises:
        EngineError, InvalidArgument: 400; says what to set.

    """
    policy = autoscale.of(spec)
    if policy is None:
        return
    if spec.mode.is_global or spec.mode.is_job:
        raise invalid(f"label {LABEL}: expected a replicated service: of others the number of tasks is not chosen")
    for name in autoscale.lacking(policy, spec):
        raise invalid(f"label {LABEL}: {name} is a share of what a task reserves: set {_RESERVATION[name]}")


def created(service: Service) -> Service:
    """Return a new service with its first number of tasks: the one asked for, else the least.

    Raises:
        FailedPrecondition: that is outside of the limits.

    """
    policy = autoscale.of(service.spec)
    if policy is None:
        return service
    asked = _asked(service.spec)
    _check(service.name, policy, policy.minimum if asked is None else asked)
    status = AutoscaleStatus(declared=asked if STACK_LABEL in service.spec.labels else None)
    spec = autoscale.with_replicas(service.spec, policy.minimum if asked is None else asked)
    return msgspec.structs.replace(service, spec=spec, autoscale_status=status)


def numbered(service: Service, spec: ServiceSpec, *, scale: bool) -> tuple[ServiceSpec, tuple[str, ...]]:
    """Fill in the number of tasks that a changed specification is to have, and return it with warnings.

    Docker's command line sends a stack's file as it sends any change, and the file may have a number: the one that it
    had first is not taken for a wish to scale, unless `scale` says that it is one.

    Raises:
        FailedPrecondition: the number that is asked for is outside of the limits.

    """
    policy, asked, before = autoscale.of(spec), _asked(spec), service.spec.mode.replicas
    if policy is None or spec.mode.global_ is not None:
        return spec, ()
    status = service.autoscale_status or AutoscaleStatus()
    if asked is None or asked == before:
        return autoscale.with_replicas(spec, policy.within(before)), ()
    if asked == status.declared and not scale:
        kept = policy.within(before)
        warning = f"{service.name} keeps {kept} tasks: it is autoscaled, {asked} was only what it began with"
        return autoscale.with_replicas(spec, kept), (warning,)
    _check(service.name, policy, asked)
    return spec, ()


def noted(old: Service, changed: Service, given: ServiceSpec, now: float) -> Service:
    """Note a change of the number. Alone it is no other specification: what a rollback returns to stays as it was.

    `given` is the specification as the client sent it.
    """
    policy = autoscale.of(changed.spec)
    if policy is None:
        return msgspec.structs.replace(changed, autoscale_status=None)
    before, after = old.spec.mode.replicas, changed.spec.mode.replicas
    status = old.autoscale_status
    if status is None or autoscale.of(old.spec) is None:
        status = AutoscaleStatus(declared=_asked(given) if STACK_LABEL in given.labels else None)
    if before != after:
        by_hand = after != policy.within(before)
        why = " by hand" if by_hand else f": {policy.minimum} to {policy.maximum} are allowed"
        message = f"scaled {before} → {after}{why}"
        status = msgspec.structs.replace(
            status, scaled_at=now, previous=before, replicas=after, by_hand=by_hand, message=message
        )
    alone = autoscale.with_replicas(old.spec, after) == changed.spec
    previous = old.previous_spec if alone else changed.previous_spec
    return msgspec.structs.replace(changed, autoscale_status=status, previous_spec=previous)


def shown(context: Context, service: Service) -> dict[str, Any]:
    """Render the last change of the number, and how the measurements stand; nothing of a service without a policy."""
    policy = autoscale.of(service.spec)
    if policy is None:
        return {}
    now = context.clock.now()
    samples = context.measurements.fresh(service.id, policy.interval)
    tasks = context.store.view.tasks.of_service(service.id)
    reading = autoscaling.told(service, policy, autoscaling.measure(service, policy, tasks, samples, now), now)
    result: dict[str, Any] = {"Reading": reading}
    status = service.autoscale_status
    if status is not None and status.scaled_at:
        result |= {
            "ScaledAt": rfc3339(status.scaled_at),
            "Previous": status.previous,
            "Replicas": status.replicas,
            "ByHand": status.by_hand,
            "Message": status.message,
        }
    return {"AutoscaleStatus": result}


def _asked(spec: ServiceSpec) -> int | None:
    return spec.mode.replicated.replicas if spec.mode.replicated is not None else None


def _check(name: str, policy: Policy, asked: int) -> None:
    if asked != policy.within(asked):
        raise FailedPrecondition(
            f"service {name} is autoscaled between {policy.minimum} and {policy.maximum} tasks, {asked} is outside of "
            f"that: change min or max in its label {LABEL}, or remove the label (service update --label-rm {LABEL})"
        )
