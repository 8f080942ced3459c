"""Autoscaled services: which policies are refused, and what clients are told of the measurements."""

from __future__ import annotations

from typing import Any

from common.clock import rfc3339
from common.model import Service
from common.model.service import ServiceSpec
from common.spec import autoscale
from common.spec.autoscale import LABEL
from manager.api.context import Context
from manager.api.errors import invalid
from manager.orchestrate import autoscaling

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
        raise invalid(f"label {LABEL}: expected a replicated service: others have no number of tasks to choose")
    for name in autoscale.lacking(policy, spec):
        raise invalid(f"label {LABEL}: {name} is a share of what a task reserves: set {_RESERVATION[name]}")


def autoscaling_view(context: Context, service: Service) -> dict[str, Any]:
    """Render the last change of the number, and how the measurements stand; nothing of a service without a policy."""
    policy = autoscale.of(service.spec)
    if policy is None:
        return {}
    now = context.clock.now()
    samples = context.measurements.fresh(service.id, policy.interval)
    tasks = context.store.view.tasks.of_service(service.id)
    reading = autoscaling.describe_load(service, policy, autoscaling.measure(service, policy, tasks, samples, now), now)
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
