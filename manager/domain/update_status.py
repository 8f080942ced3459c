"""States of a service's update, and how far it may go: its canary. Pure."""

from __future__ import annotations

from common.model import Service
from common.model.service import ServiceSpec
from common.model.update import UpdateState, UpdateStatus
from common.spec import extensions
from manager.domain import revisions

_WITH_CANARY = (UpdateState.NONE, UpdateState.UPDATING, UpdateState.PAUSED)


def state_of(service: Service) -> UpdateState:
    """Return the state of a service's update."""
    return service.update_status.state if service.update_status is not None else UpdateState.NONE


def canary_size(service: Service) -> int:
    """Return how many slots may have the new specification now; 0 when all may."""
    status = service.update_status
    if (status is not None and status.promoted) or state_of(service) not in _WITH_CANARY:
        return 0
    return extensions.of(service).canary


def after_change(service: Service, spec: ServiceSpec) -> UpdateStatus | None:
    """Return a service's update status when it is given another specification: none, so that its update begins anew.

    But what went beyond its canary, or needs none, as rollbacks do, is not to hold at it again for a change that leaves
    the tasks as they are, such as scaling: that alone is kept.
    """
    has_canary = extensions.of(service).canary and extensions.read(spec.labels).canary
    if not has_canary or canary_size(service) or revisions.tasks_differ(service.spec, spec):
        return None
    return UpdateStatus(promoted=True)
