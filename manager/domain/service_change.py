"""A service gets another specification in this one place, whoever asks: a client, a failed update, a rotation.

Every way here ends in the same checks: what the specification refers to exists, what it depends on can be met, and
nobody else publishes its ports. Pure: each function takes the state in which the change is to be stored (a
transaction's view), and returns the service as it is to be stored. Specifications come with ids of networks.
"""

from __future__ import annotations

import msgspec

from common.errors import FailedPrecondition
from common.model import Service
from common.model.service import ServiceSpec, UpdateStatus
from manager.domain.defaults import filled
from manager.domain.dependencies import check_dependencies
from manager.domain.file_references import with_newest_files
from manager.domain.port_conflicts import check_ports
from manager.domain.references import check_references
from manager.domain.replica_count import fill_in_count, first_count, record_count
from manager.domain.update_status import PAUSED, ROLLBACK_STARTED, UPDATING, after_change, state_of
from manager.state import extensions, revisions
from manager.state.executions import first_execution, next_execution, rescheduled
from manager.state.view import View


def new_service(view: View, service_id: str, spec: ServiceSpec, now: float) -> Service:
    """Return a new service.

    Raises:
        InvalidArgument, FailedPrecondition: what it refers to, depends on or publishes is not possible.

    """
    service = first_count(Service(id=service_id, spec=spec, spec_version=view.index + 1))
    service = first_execution(msgspec.structs.replace(service, spec=filled(service.spec)), now)
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
    spec = filled(counted)
    changed = revisions.respecified(service, spec, now)
    changed = msgspec.structs.replace(changed, update_status=after_change(service, spec))
    return _adopt(view, service, record_count(service, changed, given, now), now), warnings


def roll_back(view: View, service: Service, revision: int, now: float) -> Service:
    """Return a service on its way back to a revision, with 0 to the specification before, which it changes places with.

    Raises:
        InvalidArgument, FailedPrecondition: there is no such revision, or it is not possible any more.

    """
    if not revision:
        return _return(view, service, service.previous_spec, now, "manually requested rollback")
    spec = revisions.at(service, revision)
    if spec is None:
        kept = ", ".join(str(past.revision) for past in service.history) or "none"
        raise FailedPrecondition(f"service {service.name} has no past revision {revision}: kept are {kept}")
    return _return(view, service, spec, now, f"manually requested rollback to revision {revision}")


def abort_update(view: View, service: Service, now: float) -> Service:
    """Return a service on its way back to the specification before its update.

    Raises:
        InvalidArgument, FailedPrecondition: no update is under way, or the specification is not possible any more.

    """
    if state_of(service) not in (UPDATING, PAUSED):
        raise FailedPrecondition(f"service {service.name} has no update under way: there is nothing to abort")
    return _return(view, service, service.previous_spec, now, "update aborted on request")


def undo_update(view: View, service: Service, now: float, message: str) -> Service:
    """Return a service on its way back from an update that has failed; none is its previous specification then.

    Raises:
        InvalidArgument, FailedPrecondition: there is no specification to return to, or it is not possible any more.

    """
    back = _return(view, service, service.previous_spec, now, message)
    return msgspec.structs.replace(back, previous_spec=None)


def change_files(view: View, service: Service, spec: ServiceSpec, now: float) -> Service:
    """Return a service whose specification names other versions of its secrets and configs.

    Raises:
        InvalidArgument, FailedPrecondition: as `new_service`.

    """
    changed = revisions.respecified(service, spec, now)
    return _adopt(view, service, msgspec.structs.replace(changed, update_status=None), now)


def _return(view: View, service: Service, spec: ServiceSpec | None, now: float, message: str) -> Service:
    """Return the service on its way back to an earlier specification, with what it needs of secrets and configs.

    The updater tells a rollback by the status that is set here, and goes by the rollback's configuration.
    """
    if spec is None:
        raise FailedPrecondition(f"service {service.id} does not have a previous spec")
    spec = revisions.to_return_to(service, with_newest_files(spec, view))
    back = revisions.respecified(service, spec, now)
    if not spec.mode.is_job:  # a job has no updates to be rolled back: it runs anew
        status = UpdateStatus(state=ROLLBACK_STARTED, started_at=now, message=message)
        back = msgspec.structs.replace(back, update_status=status)
    return _adopt(view, service, back, now)


def _adopt(view: View, old: Service, changed: Service, now: float) -> Service:
    """Check a changed service; begin the version of its tasks, its execution and its schedule anew where due."""
    _check(view, changed, old)
    if revisions.tasks_differ(old.spec, changed.spec):
        changed = msgspec.structs.replace(next_execution(old, changed, now), spec_version=view.index + 1)
    return rescheduled(old, changed, now)


def _check(view: View, service: Service, old: Service | None = None) -> None:
    """Refuse what is not possible in this state. Dependencies that it has already may have gone: it waits for them."""
    check_references(service.spec, view)
    if old is None or extensions.of(service).depends_on != extensions.of(old).depends_on:
        check_dependencies(service.spec, view)
    check_ports(view, service)
