"""The specifications that a service had, by number: what `service history` shows and a rollback can return to. Pure.

A change of nothing but the mode, which is what scaling is, makes no revision: it would push out what one may want back.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from common.model import Service, Task
from common.model.container import FileTarget
from common.model.service import PastSpec, PortConfig, ServiceSpec, TaskSpec
from common.net.engine_networks import PREDEFINED_NETWORKS
from common.spec import autoscale
from manager.store.view import View

# Past specifications that are kept, the previous one included.
KEPT = 10


def with_spec(service: Service, spec: ServiceSpec, now: float) -> Service:
    """Return the service with another specification; what it was is kept, as the previous one and under its number."""
    changed = msgspec.structs.replace(service, spec=spec, previous_spec=service.spec)
    if _same_but_mode(service.spec, spec):
        return changed
    past = PastSpec(revision=service.revision, spec=service.spec, replaced_at=now)
    return msgspec.structs.replace(changed, revision=service.revision + 1, history=(past, *service.history)[:KEPT])


def _same_but_mode(one: ServiceSpec, other: ServiceSpec) -> bool:
    """Whether two specifications differ in nothing but the mode."""
    return other == msgspec.structs.replace(one, mode=other.mode)


def spec_of_revision(service: Service, revision: int) -> ServiceSpec | None:
    """Return the specification of a revision with the present number of tasks; None when it is not kept."""
    found = next((past.spec for past in service.history if past.revision == revision), None)
    return msgspec.structs.replace(found, mode=service.spec.mode) if found is not None else None


def number_of(service: Service, spec: ServiceSpec) -> int:
    """Return the revision number of a past specification, whatever its number of tasks; 0 when it has none."""
    return next((past.revision for past in service.history if _same_but_mode(past.spec, spec)), 0)


def spec_to_return_to(service: Service, spec: ServiceSpec) -> ServiceSpec:
    """Return a past specification for a rollback: an autoscaled service keeps its present number of tasks."""
    if autoscale.of(service.spec) is None or spec.mode.replicated is None:
        return spec
    policy, count = autoscale.of(spec), service.spec.mode.replicas
    return autoscale.with_replicas(spec, policy.within(count) if policy is not None else count)


def tasks_differ(old: ServiceSpec, new: ServiceSpec) -> bool:
    """Whether tasks made from the two specs may differ: by their template, or by ports.

    By those of their own hosts, or when only one of the specs publishes any: what gives a task its address for the
    routing mesh is given when it is created (`has_right_attachment`).
    """
    return (
        old.task_template != new.task_template
        or host_published_ports(old.ports) != host_published_ports(new.ports)
        or is_reachable_from_outside(old.ports) != is_reachable_from_outside(new.ports)
    )


def is_reachable_from_outside(ports: Collection[PortConfig]) -> bool:
    """Whether a task with these ports is reachable from outside: by the mesh, or at a fixed port of its host."""
    return any(port.publish_mode == "ingress" or port.published_port for port in ports)


def has_right_attachment(task: Task, service: Service, view: View) -> bool:
    """Whether the routing mesh reaches a task if its service's ports need that, and the task is shut in if it is to be.

    A container gets its address in the host's gateway network when it is created: if one of its networks leads outside,
    or if it publishes a port (worker/net/dataplane.py; `task.ports` says whether it did). It cannot get one later, so a
    service's first port may need new tasks.
    """
    was_reachable, is_reachable = is_reachable_from_outside(task.ports), is_reachable_from_outside(service.spec.ports)
    if was_reachable == is_reachable:
        return True
    targets = [each.target for each in service.spec.attachments]
    if not targets:
        return was_reachable  # its last port was removed: a way out does no harm
    networks = [view.networks.get(target) for target in targets if target not in PREDEFINED_NETWORKS]
    return any(network is not None and not network.spec.internal for network in networks) or not networks


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
