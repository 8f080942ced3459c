"""What services may ask for together, in other words than the manager's: a port for one, and only what there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from common.model import Network, Secret, Service
from common.model.secret import Config
from manager.store.changes import ChangeSet
from manager.store.view import View
from tests.sim.placement import Complaint
from tests.sim.rotations import files


def impossible(view: View, changes: ChangeSet) -> Iterator[Complaint]:
    """Complain of a commit after which two services publish one port on all nodes, or one refers to what is gone."""
    if any(isinstance(change.current, Service | Network | Secret | Config) for change in changes.changes):
        services = [service for service in view.services if not service.pending_delete]
        yield from _ports_taken_twice(services)
        for service in services:
            yield from _dangling(view, service)


def _ports_taken_twice(services: list[Service]) -> Iterator[Complaint]:
    holders: dict[tuple[str, int], list[str]] = defaultdict(list)
    for service in services:
        for port in service.spec.ports:
            if port.publish_mode == "ingress" and port.published_port:
                holders[port.protocol, port.published_port].append(service.name)
    for (protocol, number), names in holders.items():
        if len(names) > 1:
            yield f"{', '.join(names)} all publish {number}/{protocol}", []


def _dangling(view: View, service: Service) -> Iterator[Complaint]:
    for each in files(service.spec.task_template.container_spec):
        if each not in view.secrets and each not in view.configs:
            yield f"{service.name} refers to the file {each}, which is gone", []
    for attachment in service.spec.attachments:
        if attachment.target not in view.networks:
            yield f"{service.name} refers to the network {attachment.target}, which is gone", []
