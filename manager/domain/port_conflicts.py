"""Published ports: no two services can have the same one, and none is the cluster's own. Pure.

Within one deploy of a stack a port may go from one service to another: the one that has it gives it up first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from common.errors import InvalidArgument
from common.model import Service
from common.model.service import PortConfig, ServiceSpec
from common.net.addressing import ANY_ADDRESS, WIREGUARD_PORTS
from manager.store.view import View


def conflict(one: PortConfig, other: PortConfig) -> bool:
    """Whether two services cannot have both ports: they are the same, and at least one is published on every node."""
    return is_same(one, other) and "ingress" in (one.publish_mode, other.publish_mode)


def is_same(one: PortConfig, other: PortConfig) -> bool:
    """Whether both are one port number of one protocol, on an address that both listen on."""
    anywhere = one.host_ip in ANY_ADDRESS or other.host_ip in ANY_ADDRESS
    same_number = (one.protocol, one.published_port) == (other.protocol, other.published_port)
    return same_number and (anywhere or one.host_ip == other.host_ip)


def check_ports(view: View, service: Service) -> None:
    """Refuse a service that publishes what another one has; `service` is as it is to be stored.

    The cluster's own ports are refused too: a node that answers there would keep the manager from starting again.
    Ingress ports are published on every node, so they conflict with any other; two host ports only where tasks meet,
    which the scheduler sees to (swarmkit `controlapi/service.go`, `checkPortConflicts`).

    Raises:
        InvalidArgument: names the port, the service that has it, and how.

    """
    wanted = list(_published_ports(service.spec.ports))
    if not wanted:
        return
    for number, port in enumerate(wanted):
        if any(conflict(port, other) or is_same(port, other) for other in wanted[:number]):
            text = f"duplicate published port '{port.published_port}/{port.protocol}' in service {service.name!r}"
            raise InvalidArgument(text)
        if use := _own_use(view, port):
            text = f"port '{port.published_port}/{port.protocol}' is the cluster's own: {use}; publish another one"
            raise InvalidArgument(text)
    for other in _others(view, service):
        for theirs in ports_of(other):
            if any(conflict(port, theirs) for port in wanted):
                kind = "a host-published" if theirs.publish_mode == "host" else "an ingress"
                holder = f"service '{other.name}' ({other.id}) as {kind} port"
                raise InvalidArgument(f"port '{theirs.published_port}' is already in use by {holder}")


def ports_of(service: Service) -> Iterator[PortConfig]:
    """Yield the ports that a service holds: those that it asks for, and those that were chosen for it."""
    yield from _published_ports(service.spec.ports)
    if service.endpoint is not None:
        yield from _published_ports(service.endpoint.ports)


def without_passed_on(present: Service, wanted: ServiceSpec, others: Iterable[ServiceSpec]) -> Service:
    """Return a service without the ports that others are to have and it is not.

    `others` are the stack's other services as they are to be.
    """
    asked = [port for other in others for port in other.ports if not _in_conflict(port, wanted.ports)]
    endpoint, spec = present.endpoint, present.spec
    if endpoint is not None:
        endpoint = msgspec.structs.replace(endpoint, ports=_kept_ports(endpoint.ports, asked))
    if spec.endpoint_spec is not None:
        ports = _kept_ports(spec.endpoint_spec.ports, asked)
        spec = msgspec.structs.replace(spec, endpoint_spec=msgspec.structs.replace(spec.endpoint_spec, ports=ports))
    return msgspec.structs.replace(present, spec=spec, endpoint=endpoint)


def _own_use(view: View, port: PortConfig) -> str:
    """Say what the cluster itself has a port for, empty when it does not."""
    if port.protocol == "udp":
        if port.published_port in WIREGUARD_PORTS:
            return "encrypted networks between its nodes end there"
        tunnels = any(cluster.data_path_port == port.published_port for cluster in view.clusters)
        return "the tunnels between its nodes end there" if tunnels else ""
    if port.protocol != "tcp":
        return ""
    found = [(node.manager_status.addr, node.etcd_addr) for node in view.nodes if node.manager_status is not None]
    managers = filter(None, (each for pair in found for each in pair))
    if any(addr.rpartition(":")[2] == str(port.published_port) for addr in managers):
        return "its manager listens there"
    serves = any(node.agent and node.image_port == port.published_port for node in view.nodes)
    return "its workers serve images to each other there" if serves else ""


def _published_ports(ports: Iterable[PortConfig]) -> Iterator[PortConfig]:
    return (port for port in ports if port.published_port)


def _others(view: View, service: Service) -> Iterator[Service]:
    """Yield the other services, without those that are being removed: their ports go to whoever asks next."""
    return (other for other in view.services if other.id != service.id and not other.pending_delete)


def _kept_ports(ports: Iterable[PortConfig], asked: Iterable[PortConfig]) -> tuple[PortConfig, ...]:
    wanted = tuple(asked)
    return tuple(port for port in ports if not _in_conflict(port, wanted))


def _in_conflict(port: PortConfig, others: Iterable[PortConfig]) -> bool:
    return bool(port.published_port) and any(conflict(port, other) for other in others)
