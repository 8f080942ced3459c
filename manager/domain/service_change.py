"""A service gets another specification in this one place, whoever asks: a client, a failed update, a rotation.

Every way here ends in the same checks: what the specification refers to exists, what it depends on can be met, and
nobody else publishes its ports. Pure: each function takes the state in which the change is to be stored (a
transaction's view), and returns the service as it is to be stored. Specifications come with ids of networks.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from common.errors import FailedPrecondition, InvalidArgument
from common.model import Service
from common.model.service import ServiceSpec
from common.model.update import Action, Condition, Failure, Reason, Requested, UpdateState, UpdateStatus
from common.spec import extensions, start_order
from manager.domain import revisions
from manager.domain.autoscaled_count import fill_in_count, first_count, record_count
from manager.domain.defaults import fill_defaults
from manager.domain.executions import first_execution, next_execution, restart_schedule
from manager.domain.port_conflicts import check_ports
from manager.domain.references import check_references, with_newest_files
from manager.domain.update_status import after_change, state_of
from manager.store.view import View


def new_service(view: View, service_id: str, spec: ServiceSpec, now: float) -> Service:
    """Return a new service.

    Raises:
        InvalidArgument, FailedPrecondition: what it refers to, depends on or publishes is not possible.

    """
    service = first_count(Service(id=service_id, spec=spec, spec_version=view.index + 1))
    service = first_execution(msgspec.structs.replace(service, spec=fill_defaults(service.spec)), now)
    _check(view, service)
    return service


def change_spec(
    view: View, service: Service, given: ServiceSpec, now: float, *, scale: bool = False
) -> tuple[Service, tuple[str, ...]]:
    """Return a service with the specification that a client sends, and warnings.

    `scale`: the number of tasks that is given is wanted, though the service is autoscaled (see `fill_in_count`).

    Raises:
        InvalidArgument, FailedPrecondition: as `new_service`.

    """
    counted, warnings = fill_in_count(service, given, scale=scale)
    spec = fill_defaults(counted)
    changed = revisions.with_spec(service, spec, now)
    changed = msgspec.structs.replace(changed, update_status=after_change(service, spec))
    return _adopt(view, service, record_count(service, changed, given, now), now), warnings


def roll_back(view: View, service: Service, revision: int, now: float, by: str = "") -> Service:
    """Return a service on its way back to a revision, with 0 to the specification before, which it changes places with.

    `by` is the name of the client that asks.

    Raises:
        InvalidArgument, FailedPrecondition: there is no such revision, or it is no longer possible.

    """
    reason = Requested(action=Action.ROLLBACK, by=by, revision=revision)
    if not revision:
        return _return(view, service, service.previous_spec, now, reason)
    spec = revisions.spec_of_revision(service, revision)
    if spec is None:
        kept = ", ".join(str(past.revision) for past in service.history) or "none"
        raise FailedPrecondition(f"service {service.name} has no past revision {revision}: it has {kept}")
    return _return(view, service, spec, now, reason)


def abort_update(view: View, service: Service, now: float, by: str = "") -> Service:
    """Return a service on its way back to the specification before its update; `by` is the client that asks for it.

    Raises:
        InvalidArgument, FailedPrecondition: no update is under way, or the specification is no longer possible.

    """
    if state_of(service) not in (UpdateState.UPDATING, UpdateState.PAUSED):
        raise FailedPrecondition(f"service {service.name} has no update under way: there is nothing to abort")
    return _return(view, service, service.previous_spec, now, Requested(action=Action.ABORT, by=by))


def undo_update(view: View, service: Service, now: float, failure: Failure) -> Service:
    """Return a service on its way back from an update that has failed; none is its previous specification then.

    Raises:
        InvalidArgument, FailedPrecondition: there is no specification to return to, or it is no longer possible.

    """
    back = _return(view, service, service.previous_spec, now, failure)
    return msgspec.structs.replace(back, previous_spec=None)


def change_files(view: View, service: Service, spec: ServiceSpec, now: float) -> Service:
    """Return a service whose specification names other versions of its secrets and configs.

    Raises:
        InvalidArgument, FailedPrecondition: as `new_service`.

    """
    changed = revisions.with_spec(service, spec, now)
    return _adopt(view, service, msgspec.structs.replace(changed, update_status=None), now)


def _return(view: View, service: Service, spec: ServiceSpec | None, now: float, reason: Reason) -> Service:
    """Return the service on its way back to an earlier specification, with what it needs of secrets and configs.

    The updater tells a rollback by the status that is set here, and goes by the rollback's configuration.
    """
    if spec is None:
        raise FailedPrecondition(f"service {service.id} does not have a previous spec")
    number = revisions.number_of(service, spec)
    spec = revisions.spec_to_return_to(service, with_newest_files(spec, view))
    back = revisions.with_spec(service, spec, now)
    if not spec.mode.is_job:  # a job has no update to roll back: it runs again
        started = UpdateState.ROLLBACK_STARTED
        status = UpdateStatus(state=started, started_at=now, reason=reason, returns_to=number)
        back = msgspec.structs.replace(back, update_status=status)
    return _adopt(view, service, back, now)


def _adopt(view: View, old: Service, changed: Service, now: float) -> Service:
    """Check a changed service; start a new version of its tasks, execution and schedule where due."""
    _check(view, changed, old)
    if revisions.tasks_differ(old.spec, changed.spec):
        changed = msgspec.structs.replace(next_execution(old, changed, now), spec_version=view.index + 1)
    return restart_schedule(old, changed, now)


def _check(view: View, service: Service, old: Service | None = None) -> None:
    """Refuse what is not possible in this state. Dependencies that it has already may have gone: it waits for them."""
    check_references(service.spec, view)
    before = {} if old is None else extensions.of(old).depends_on
    if extensions.of(service).depends_on != before:
        check_dependencies(service.spec, view, before)
    check_ports(view, service)


# --- dependencies ---


def check_dependencies(spec: ServiceSpec, view: View, before: Collection[str] = ()) -> None:
    """Refuse dependencies that can never be met; `before` are the names of those that the service has already.

    A new cycle goes through this service: without a new dependency, or a dependent service, there is none.

    Raises:
        InvalidArgument: names the service that is missing or never completes, or the cycle.

    """
    wanted = extensions.read(spec.labels).depends_on
    if not wanted:
        return

    def dependencies(name: str) -> Collection[str]:
        if name == spec.name:
            return wanted
        service = _present(view, name)
        return extensions.of(service).depends_on if service is not None else ()

    for name, condition in wanted.items():
        if name != spec.name:  # that would be the shortest cycle
            _check_condition(spec.name, name, condition, _present(view, name))
    new = [name for name in wanted if name not in before]
    may_close_one = spec.name in new or any(not each.pending_delete for each in view.services.depending_on(spec.name))
    if new and may_close_one and (found := start_order.cycle(dependencies, spec.name)):
        raise InvalidArgument(f"services depend on each other in a cycle: {start_order.format_cycle(found)}")


def _present(view: View, name: str) -> Service | None:
    return next((service for service in view.services.named(name) if not service.pending_delete), None)


def _check_condition(name: str, wanted: str, condition: Condition, other: Service | None) -> None:
    if other is None:
        raise InvalidArgument(f"service {name} depends on {wanted}, which does not exist: create {wanted} first")
    if condition is Condition.COMPLETED:
        _check_ends(name, other)
    if condition is Condition.HEALTHY:
        _check_stays(name, other)


def _check_ends(name: str, service: Service) -> None:
    if not service.spec.ends:
        raise InvalidArgument(
            f"service {name} waits for {service.name} to complete, but that service is restarted whenever "
            "it completes: give it the restart condition none or on-failure, or make it a job"
        )


def _check_stays(name: str, service: Service) -> None:
    if service.spec.mode.is_job:
        raise InvalidArgument(
            f"service {name} waits for {service.name} to be healthy, but a job never is: "
            "wait for it to complete (completed, in a compose file service_completed_successfully)"
        )
