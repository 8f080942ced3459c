"""Services as the engine's API shows them."""

from __future__ import annotations

from collections.abc import Collection, Container
from typing import Any

import msgspec

from common.clock import SECOND, rfc3339
from common.model import Service, TaskState
from common.model.container import DEFAULT_STOP_GRACE
from common.model.service import (
    Endpoint,
    JobStatus,
    ServiceSpec,
    UpdateConfig,
)
from common.model.update import ACTIVE, HALTED, AwaitsServices, UpdateProgress, UpdateState, UpdateStatus
from common.spec import autoscale
from manager.api.context import Context
from manager.api.networks.view import with_prefix
from manager.api.render import JsonCache, head, render
from manager.domain import executions
from manager.domain.update_status import message
from manager.orchestrate import autoscaling
from manager.orchestrate.update.progress import update_progress
from manager.store.view import View

RESTART_DELAY = 5 * SECOND


def service_view(
    service: Service, view: View, cache: JsonCache, now: float, *, defaults: bool = False
) -> dict[str, Any]:
    """Render a service; with `defaults`, a spec's open fields are filled with what they mean."""
    result = head(service)
    result["Spec"] = spec_with_defaults(service.spec) if defaults else cache.get(service.spec, spec_view)
    if service.previous_spec is not None:
        result["PreviousSpec"] = cache.get(service.previous_spec, spec_view)
    result["Endpoint"] = _endpoint_view(service.endpoint, view)
    if (status := _shown_status(service)) is not None:
        result["UpdateStatus"] = _update_status_view(service, status, view, now)
    if service.job_status is not None:
        result["JobStatus"] = _job_status_view(service.job_status)
    if (schedule := service.schedule_status) is not None and schedule.next_at:
        result["ScheduleStatus"] = {"LastAt": rfc3339(schedule.last_at), "NextAt": rfc3339(schedule.next_at)}
    return result


def spec_view(spec: ServiceSpec) -> dict[str, Any]:
    """Render a service's spec; what the engine always writes is there."""
    result = render(spec)
    result.setdefault("Labels", {})
    template = result.setdefault("TaskTemplate", render(spec.task_template))
    template["Runtime"] = spec.task_template.runtime or "container"
    if container := template.get("ContainerSpec"):
        container.setdefault("Isolation", "default")
    return result


def spec_with_defaults(spec: ServiceSpec) -> dict[str, Any]:
    """Render a spec with the defaults of `insertDefaults` (swarmkit `api/defaults/service.go`)."""
    result = spec_view(spec)
    template = result["TaskTemplate"]
    if container := template.get("ContainerSpec"):
        container.setdefault("StopGracePeriod", DEFAULT_STOP_GRACE)
        container.setdefault("DNSConfig", {})
    policy = template.setdefault("RestartPolicy", {"Condition": "any"})
    policy.setdefault("Delay", RESTART_DELAY)
    policy.setdefault("MaxAttempts", 0)
    template.setdefault("Resources", {})
    template.setdefault("Placement", {})
    if spec.mode.replicated is not None or spec.mode.global_ is not None:
        result.setdefault("UpdateConfig", render(UpdateConfig()))
        result.setdefault("RollbackConfig", render(UpdateConfig()))
    return result


def status_view(view: View, service: Service, down: Container[str]) -> dict[str, int]:
    """Count a service's tasks, as `services?status=true` shows them; `down` are the ids of nodes that are.

    Executions of a job that run beside each other are counted together; of a replicated job that of which it has a
    total, what has completed, is the present one's.
    """
    running = wanted = lost = completed = 0
    mode, alive = service.spec.mode, executions.executions_under_way(service)
    iteration = service.job_status.job_iteration if service.job_status is not None else None
    for task in view.tasks.of_service(service.id):
        present = task.job_iteration == iteration
        if not present and (task.job_iteration is None or task.job_iteration.index not in alive):
            continue
        wanted += task.desired_state <= TaskState.RUNNING
        lost += task.is_lost(down)
        running += task.runs(down)
        completed += task.status.state is TaskState.COMPLETE and (present or mode.replicated_job is None)
    desired = mode.desired(wanted, lost, running)
    if mode.replicated_job is not None:
        desired = (mode.replicated_job.max_concurrent or 0) * max(1, len(alive))
    return {"RunningTasks": running, "DesiredTasks": desired, "CompletedTasks": completed}


def ports_view(ports: Collection[msgspec.Struct]) -> list[dict[str, Any]]:
    return [render(port) for port in ports]


def _endpoint_view(endpoint: Endpoint | None, view: View) -> dict[str, Any]:
    if endpoint is None:
        return {"Spec": {}}
    result: dict[str, Any] = {"Spec": render(endpoint.spec) if endpoint.spec is not None else {}}
    if endpoint.ports:
        result["Ports"] = ports_view(endpoint.ports)
    if endpoint.virtual_ips:
        result["VirtualIPs"] = [
            {"NetworkID": vip.network_id, "Addr": with_prefix(vip.addr, view.networks.get(vip.network_id))}
            for vip in endpoint.virtual_ips
        ]
    return result


def _shown_status(service: Service) -> UpdateStatus | None:
    """Return the status of a service's update, or of its first start that waits: the API has no place of its own."""
    if service.update_status is not None and service.update_status.state:
        return service.update_status
    if service.waits_for:
        return UpdateStatus(state=UpdateState.UPDATING, remark=AwaitsServices(services=service.waits_for))
    return None


def _update_status_view(service: Service, status: UpdateStatus, view: View, now: float) -> dict[str, Any]:
    """Render Docker's fields of an update, and ours: what its message is made of, and until it ends how far it is."""
    result: dict[str, Any] = {"State": status.state}
    if status.started_at:
        result["StartedAt"] = rfc3339(status.started_at)
    if status.completed_at:
        result["CompletedAt"] = rfc3339(status.completed_at)
    result["Message"] = message(status)
    for key, value in (("Reason", status.reason), ("Remark", status.remark)):
        if value is not None:
            result[key] = msgspec.to_builtins(value)
    if status.returns_to:
        result["ReturnsTo"] = status.returns_to
    if status.rollback_refused:
        result["RollbackRefused"] = status.rollback_refused
    if status.state in (*ACTIVE, *HALTED):
        result["Progress"] = _progress_view(update_progress(service, view, now))
    return result


def _progress_view(progress: UpdateProgress) -> dict[str, Any]:
    result: dict[str, Any] = {"Done": progress.done, "Of": progress.of, "Batch": progress.batch}
    if progress.waits_for:
        result["WaitsFor"] = msgspec.to_builtins(progress.waits_for)
    if progress.monitor_until:
        result["MonitorUntil"] = rfc3339(progress.monitor_until)
    return result


def _job_status_view(status: JobStatus) -> dict[str, Any]:
    result: dict[str, Any] = {"JobIteration": render(status.job_iteration)}
    if status.last_execution:
        result["LastExecution"] = rfc3339(status.last_execution)
    return result


def autoscaling_view(context: Context, service: Service) -> dict[str, Any]:
    """Render the last change of the number, and how the measurements stand; nothing of a service without a policy."""
    policy = autoscale.of(service.spec)
    if policy is None:
        return {}
    now = context.clock.now()
    samples = context.soft.measurements.fresh(service.id, policy.interval)
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
