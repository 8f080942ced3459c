"""How many tasks an autoscaled service is to have when a client says something of it. Pure.

The number is the manager's to choose, between the limits of `swarm.x.autoscale`. A client that names another one
scales by hand: it takes effect at once, within the limits. One that repeats the present number, or names none,
changes nothing.
"""

from __future__ import annotations

import msgspec

from common.errors import FailedPrecondition
from common.model import Service
from common.model.service import STACK_LABEL, AutoscaleStatus, ServiceSpec
from common.spec import autoscale
from common.spec.autoscale import LABEL, Policy


def first_count(service: Service) -> Service:
    """Return a new service with its first number of tasks: the one asked for, else the least.

    Raises:
        FailedPrecondition: that is outside of the limits.

    """
    policy = autoscale.of(service.spec)
    if policy is None:
        return service
    asked = _requested_count(service.spec)
    _check_count(service.name, policy, policy.minimum if asked is None else asked)
    status = AutoscaleStatus(declared=asked if STACK_LABEL in service.spec.labels else None)
    spec = autoscale.with_replicas(service.spec, policy.minimum if asked is None else asked)
    return msgspec.structs.replace(service, spec=spec, autoscale_status=status)


def fill_in_count(service: Service, spec: ServiceSpec, *, scale: bool) -> tuple[ServiceSpec, tuple[str, ...]]:
    """Fill in the number of tasks that a changed specification is to have, and return it with warnings.

    Docker's command line sends a stack's file as it sends any change, and the file may have a number: the one that it
    had first is not taken for a wish to scale, unless `scale` says that it is one.

    Raises:
        FailedPrecondition: the number that is asked for is outside of the limits.

    """
    policy, asked, before = autoscale.of(spec), _requested_count(spec), service.spec.mode.replicas
    if policy is None or spec.mode.global_ is not None:
        return spec, ()
    status = service.autoscale_status or AutoscaleStatus()
    if asked is None or asked == before:
        return autoscale.with_replicas(spec, policy.within(before)), ()
    if asked == status.declared and not scale:
        kept = policy.within(before)
        warning = f"{service.name} keeps {kept} tasks: it is autoscaled, and {asked} is only its initial number"
        return autoscale.with_replicas(spec, kept), (warning,)
    _check_count(service.name, policy, asked)
    return spec, ()


def record_count(old: Service, changed: Service, given: ServiceSpec, now: float) -> Service:
    """Note a change of the number. Alone it is not another specification: what a rollback returns to stays as it was.

    `given` is the specification as the client sent it.
    """
    policy = autoscale.of(changed.spec)
    if policy is None:
        return msgspec.structs.replace(changed, autoscale_status=None)
    before, after = old.spec.mode.replicas, changed.spec.mode.replicas
    status = old.autoscale_status
    if status is None or autoscale.of(old.spec) is None:
        status = AutoscaleStatus(declared=_requested_count(given) if STACK_LABEL in given.labels else None)
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


def _requested_count(spec: ServiceSpec) -> int | None:
    return spec.mode.replicated.replicas if spec.mode.replicated is not None else None


def _check_count(name: str, policy: Policy, asked: int) -> None:
    if asked != policy.within(asked):
        raise FailedPrecondition(
            f"service {name} is autoscaled between {policy.minimum} and {policy.maximum} tasks, {asked} is outside of "
            f"that: change min or max in its label {LABEL}, or remove the label (service update --label-rm {LABEL})"
        )
