"""The specifications that a service had, by number: what `service history` shows and a rollback can return to. Pure.

A change of nothing but the mode, which is what scaling is, makes no revision: it would push out what one may want back.

An execution of a job is an iteration of the service; which of them go on is in its job status. It takes the place of
the one before it, but for a scheduled job whose executions may run beside each other
(`swarm.x.schedule-concurrency=allow`): there the earlier ones go on until they are through.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from common.model import Service
from common.model.container import FileTarget
from common.model.naming import Version
from common.model.service import JobStatus, PastSpec, PortConfig, ScheduleStatus, ServiceSpec, TaskSpec
from common.spec import autoscale, extensions

# Past specifications that are kept, the previous one included.
KEPT = 10


def with_spec(service: Service, spec: ServiceSpec, now: float) -> Service:
    """Return the service with another specification; what it was is kept, as the previous one and under its number."""
    changed = msgspec.structs.replace(service, spec=spec, previous_spec=service.spec)
    if _but_mode(service.spec, spec):
        return changed
    past = PastSpec(revision=service.revision, spec=service.spec, replaced_at=now)
    return msgspec.structs.replace(changed, revision=service.revision + 1, history=(past, *service.history)[:KEPT])


def _but_mode(one: ServiceSpec, other: ServiceSpec) -> bool:
    """Whether two specifications differ in nothing but the mode."""
    return other == msgspec.structs.replace(one, mode=other.mode)


def at(service: Service, revision: int) -> ServiceSpec | None:
    """Return the specification of a revision with the present number of tasks; None when it is not kept."""
    found = next((past.spec for past in service.history if past.revision == revision), None)
    return msgspec.structs.replace(found, mode=service.spec.mode) if found is not None else None


def number_of(service: Service, spec: ServiceSpec) -> int:
    """Return the number that a past specification was called by, whatever its number of tasks; 0 when it has none."""
    return next((past.revision for past in service.history if _but_mode(past.spec, spec)), 0)


def to_return_to(service: Service, spec: ServiceSpec) -> ServiceSpec:
    """Return a past specification as it is to come back: an autoscaled service keeps its present number of tasks."""
    if autoscale.of(service.spec) is None or spec.mode.replicated is None:
        return spec
    policy, count = autoscale.of(spec), service.spec.mode.replicas
    return autoscale.with_replicas(spec, policy.within(count) if policy is not None else count)


def tasks_differ(old: ServiceSpec, new: ServiceSpec) -> bool:
    """Whether tasks made from the two specs may differ: by their template, or by ports.

    By those of their own hosts, or when only one of the specs publishes any: what gives a task its address for the
    routing mesh is given when it is made (`orchestrate/reconcile/ingress_attachment.py`).
    """
    return (
        old.task_template != new.task_template
        or host_published_ports(old.ports) != host_published_ports(new.ports)
        or is_reachable_from_outside(old.ports) != is_reachable_from_outside(new.ports)
    )


def is_reachable_from_outside(ports: Collection[PortConfig]) -> bool:
    """Whether others are to reach a task with these ports from outside: one is the mesh's, or known on its own host."""
    return any(port.publish_mode == "ingress" or port.published_port for port in ports)


def host_published_ports(ports: Collection[PortConfig]) -> tuple[PortConfig, ...]:
    """Return those of a task's ports that its own host opens."""
    return tuple(port for port in ports if port.publish_mode == "host")


def only_files_differ(old: TaskSpec, new: TaskSpec) -> bool:
    """Whether two templates differ in nothing but which secrets and configs there are in the same places."""
    return old != new and _without_files(old) == _without_files(new)


def _without_files(template: TaskSpec) -> TaskSpec:
    container = template.container_spec
    if container is None:
        return template
    places = msgspec.structs.replace(
        container,
        secrets=tuple(
            msgspec.structs.replace(
                each, secret_id="", secret_name="", file=each.file or FileTarget(name=each.secret_name)
            )
            for each in container.secrets
        ),
        # What is for the runtime (a credential spec) is read once, when the container is made.
        configs=tuple(
            msgspec.structs.replace(
                each, config_id="", config_name="", file=each.file or FileTarget(name=each.config_name)
            )
            if each.runtime is None
            else each
            for each in container.configs
        ),
    )
    return msgspec.structs.replace(template, container_spec=places)


# Executions beside the present one: a job that never ends must not fill the cluster with itself.
MOST_BESIDE = 100


def first_execution(service: Service, now: float) -> Service:
    """Return a new service with its first execution begun if it is a job."""
    if not service.spec.mode.is_job:
        return service
    if extensions.of(service).schedule:  # its first is when it is due
        return msgspec.structs.replace(service, job_status=JobStatus(), schedule_status=ScheduleStatus(last_at=now))
    return msgspec.structs.replace(service, job_status=JobStatus(last_execution=now))


def restart_schedule(old: Service, changed: Service, now: float) -> Service:
    """Return a job with its schedule begun anew if that was changed: the new one has missed nothing before."""
    before, after = extensions.of(old), extensions.of(changed)
    if (before.schedule, before.schedule_timezone) == (after.schedule, after.schedule_timezone):
        return changed
    status = ScheduleStatus(last_at=now) if after.schedule else None
    return msgspec.structs.replace(changed, schedule_status=status)


def begun(service: Service, now: float) -> JobStatus:
    """Return a job's status with another execution begun, the first or one after those it had."""
    last = service.job_status or JobStatus()
    if not last.last_execution:
        return JobStatus(job_iteration=last.job_iteration, last_execution=now)
    index = last.job_iteration.index
    beside = (*last.beside, index) if side_by_side(service) else ()
    return JobStatus(job_iteration=Version(index=index + 1), last_execution=now, beside=beside)


def next_execution(old: Service, changed: Service, now: float) -> Service:
    """Return a job whose tasks are to be made otherwise, or by force anew, with another execution begun.

    Not where only its secrets and configs change, and are to be changed in the tasks that run.
    """
    if not changed.spec.mode.is_job:
        return changed
    here, there = old.spec.task_template, changed.spec.task_template
    if extensions.of(changed).on_rotate != "restart" and only_files_differ(here, there):
        return changed
    forced = old.spec.task_template.force_update != changed.spec.task_template.force_update
    if extensions.of(changed).schedule and not forced:
        return changed
    return msgspec.structs.replace(changed, job_status=begun(changed, now))


def side_by_side(service: Service) -> bool:
    """Whether an execution leaves alone those before it."""
    return extensions.of(service).schedule_concurrency == "allow"


def beside(service: Service) -> tuple[int, ...]:
    """Return the iterations of the earlier executions that go on, the oldest first."""
    status = service.job_status
    return status.beside if status is not None and side_by_side(service) else ()


def under_way(service: Service) -> frozenset[int]:
    """Return the iterations whose tasks are looked after: the present one and those beside it."""
    status = service.job_status
    return frozenset(() if status is None else (*beside(service), status.job_iteration.index))
