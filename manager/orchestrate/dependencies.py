"""Start order: a service or its update starts when what it depends on is up, on whichever hosts that runs.

Only starts wait. A service that runs is reconciled whatever happens to its dependencies: restarts, moves and scaling go
on, with the specification that its tasks have while an update of it waits. An update that has started goes on, and a
rollback of one that has started waits for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

import msgspec

from common.model import Service, Task, TaskState
from common.model.service import EXTENSION_PREFIX, EndpointSpec
from common.model.update import (
    HALTED,
    Awaited,
    AwaitsServices,
    Condition,
    NoProgress,
    Obstacle,
    UpdateState,
    UpdateStatus,
)
from common.spec import extensions
from common.spec.constraints import unmet
from manager.domain.update_status import waits_for
from manager.orchestrate.node_availability import NodeAvailability, availability_of
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.update import rolling
from manager.store.view import View

_STATES = {
    Condition.STARTED: (TaskState.STARTING, TaskState.RUNNING, TaskState.COMPLETE),
    Condition.HEALTHY: (TaskState.RUNNING,),
    Condition.COMPLETED: (TaskState.COMPLETE,),
}


def decidable_part(context: ServiceContext) -> ServiceContext | None:
    """Return the context to decide now: the service's, that of what runs of it, or None before its first start."""
    if EXTENSION_PREFIX + "depends-on" not in context.service.spec.labels and not context.service.waits_for:
        return context
    awaited = () if _has_begun(context) else _awaited(context)
    _record_awaited(context, awaited)
    if awaited:
        _fail_when_overdue(context, awaited)
        return _running_service(context)
    return context


def depends_on(service: Service) -> Collection[str]:
    """Name the services that a service depends on."""
    return extensions.of(service).depends_on


# --- whether it waits ---


def _has_begun(context: ServiceContext) -> bool:
    """Whether the present specification was started, or need not be, as the tasks have it already."""
    status = context.service.update_status
    tasks = _desired_tasks(context)
    if tasks and status is not None and status.state is UpdateState.ROLLBACK_STARTED:
        return True
    if any(task.spec_version == context.service.spec_version for task in tasks):
        return True
    live = [task for task in tasks if task.live] or tasks
    return bool(tasks) and all(context.clean(task) for task in live)


def _awaited(context: ServiceContext) -> tuple[Awaited, ...]:
    """Return what the service waits for."""
    wanted = extensions.of(context.service).depends_on
    return tuple(
        Awaited(service=name, condition=condition, obstacle=obstacle)
        for name, condition in wanted.items()
        if (obstacle := _obstacle(context, name, condition)) is not None
    )


def _obstacle(context: ServiceContext, name: str, condition: Condition) -> Obstacle | None:
    """Return what keeps a dependency from meeting its condition; None when it is met."""
    service = next((each for each in context.view.services.named(name) if not each.pending_delete), None)
    if service is None:
        return Obstacle.MISSING
    if condition is Condition.HEALTHY and service.spec.mode.is_job:
        return Obstacle.IS_JOB
    if is_met(service, condition, context):
        return None
    if condition is Condition.HEALTHY and is_met(service, Condition.COMPLETED, context):
        return Obstacle.HAS_COMPLETED
    return Obstacle.NONE


def is_met(service: Service, condition: Condition, context: ServiceContext) -> bool:
    """Whether every task of a service, of its present specification, meets a condition."""
    own = ServiceContext(service, context.view, context.now, context.rng, context.draft)
    iteration = service.job_status.job_iteration if service.job_status is not None else None
    there = {
        task.slot or task.node_id
        for task in context.view.tasks.of_service(service.id)
        if task.status.state in _STATES[condition]
        and (task.live or (task.status.state is TaskState.COMPLETE and task.desired_state < TaskState.REMOVE))
        and task.job_iteration == iteration
        and (not task.live or not own.lost(task))
        and own.clean(task)
    }
    return len(there) >= _count(service, context.view)


def _count(service: Service, view: View) -> int:
    """Count the tasks that a service should have, or a job should have completed."""
    mode = service.spec.mode
    if mode.is_global:
        return sum(1 for _ in _eligible(service, view))
    return mode.replicated_job.total if mode.replicated_job is not None else mode.replicas


def _eligible(service: Service, view: View) -> Iterator[str]:
    placement = service.spec.task_template.placement
    return (
        node.id for node in view.nodes if availability_of(node) is NodeAvailability.OPEN and not unmet(placement, node)
    )


# --- while it waits ---


def _record_awaited(context: ServiceContext, awaited: tuple[Awaited, ...]) -> None:
    """Record on the service what it waits for. The time that an update waits counts as its own."""
    service = context.service
    status = _waiting_status(context, awaited)
    if service.waits_for == awaited and status == service.update_status:
        return
    context.update(msgspec.structs.replace(service, waits_for=awaited, update_status=status))
    context.reason(waits_for(awaited) or "waits no longer")


def _waiting_status(context: ServiceContext, awaited: tuple[Awaited, ...]) -> UpdateStatus | None:
    """Return the update's status, which says what it waits for unless it is halted; a first start has none."""
    status = context.service.update_status
    if not awaited:
        waited = status is not None and isinstance(status.remark, AwaitsServices)
        return msgspec.structs.replace(status, remark=None) if status is not None and waited else status
    if not _desired_tasks(context) or (status is not None and status.state in HALTED):
        return status
    remark = AwaitsServices(services=awaited)
    if status is not None and status.state is UpdateState.UPDATING:
        return msgspec.structs.replace(status, remark=remark, message="")
    return UpdateStatus(state=UpdateState.UPDATING, started_at=context.now, remark=remark)


def _fail_when_overdue(context: ServiceContext, awaited: tuple[Awaited, ...]) -> None:
    """Fail an update that waits too long, like one that makes no progress."""
    status, config = context.service.update_status, context.service.spec.update_config
    continues = config is not None and config.failure_action == "continue"
    if status is None or status.state is not UpdateState.UPDATING or continues:
        return
    deadline = extensions.of(context.service).progress_deadline
    due = max(status.started_at, status.resumed_at) + deadline
    if context.now < due:
        context.wake(due)
    else:
        rolling.fail(context, NoProgress(deadline=deadline, waits=AwaitsServices(services=awaited)))


def _running_service(context: ServiceContext) -> ServiceContext | None:
    """Return the service as most of its tasks have it; None when it has none, or is a job, which nothing keeps up."""
    tasks = _desired_tasks(context)
    if not tasks or context.service.spec.mode.is_job:
        return None
    live = [task for task in tasks if task.live] or tasks
    counts = Counter(task.spec_version for task in live)
    version = max(counts, key=lambda each: (counts[each], each))
    model = next(task for task in live if task.spec_version == version)
    spec = msgspec.structs.replace(
        context.service.spec, task_template=model.spec, networks=(), endpoint_spec=EndpointSpec(ports=model.ports)
    )
    service = msgspec.structs.replace(context.service, spec=spec, spec_version=version)
    return ServiceContext(service, context.view, context.now, context.rng, context.draft, held=True)


def _desired_tasks(context: ServiceContext) -> list[Task]:
    return [task for task in context.view.tasks.of_service(context.service.id) if task.desired_state < TaskState.REMOVE]
