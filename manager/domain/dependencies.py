"""What a service depends on must be there, must be able to be ready, and must not depend on it. In the transaction."""

from __future__ import annotations

from common.errors import InvalidArgument
from common.model import Service
from common.model.service import ServiceSpec
from manager.state import extensions, startorder
from manager.state.extensions import Condition
from manager.state.view import View


def check_dependencies(spec: ServiceSpec, view: View) -> None:
    """Refuse dependencies that can never be met.

    Raises:
        InvalidArgument: names the service that is missing or never completes, or the cycle.

    """
    wanted = extensions.read(spec.labels).depends_on
    if not wanted:
        return
    present = {service.name: service for service in view.services if not service.pending_delete}
    for name, condition in wanted.items():
        if name != spec.name and name not in present:
            raise InvalidArgument(f"service {spec.name} depends on {name}, which does not exist: create {name} first")
        if condition is Condition.COMPLETED and name != spec.name:
            _check_ends(spec.name, present[name])
        if condition is Condition.HEALTHY and name != spec.name:
            _check_stays(spec.name, present[name])
    graph = {name: extensions.of(service).depends_on for name, service in present.items()}
    if found := startorder.cycle({**graph, spec.name: wanted}, spec.name):
        raise InvalidArgument(f"services depend on each other in a circle: {startorder.told(found)}")


def _check_ends(name: str, service: Service) -> None:
    if not service.spec.ends:
        raise InvalidArgument(
            f"service {name} waits for {service.name} to complete, which is restarted whenever it does: "
            "give that the restart condition none or on-failure, or make it a job"
        )


def _check_stays(name: str, service: Service) -> None:
    if service.spec.mode.is_job:
        raise InvalidArgument(
            f"service {name} waits for {service.name} to be healthy, which a job never is, as it ends: "
            "wait for it to complete (completed, in a compose file service_completed_successfully)"
        )
