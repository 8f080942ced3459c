"""Published ports: no two services can have the same one, and none is the cluster's own. Pure.

Within one deploy of a stack a port may go from one service to another: the one that has it gives it up first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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
    for port in wanted:
        for other in view.services.publishing(port.protocol, port.published_port):
            if other.id != service.id and not other.pending_delete:  # what is being removed goes to whoever asks next
                _check_against(other, port)


def _check_against(other: Service, port: PortConfig) -> None:
    for theirs in other.published_ports:
        if conflict(port, theirs):
            kind = "a host-published" if theirs.publish_mode == "host" else "an ingress"
            holder = f"service '{other.name}' ({other.id}) as {kind} port"
            raise InvalidArgument(f"port '{theirs.published_port}' is already in use by {holder}")


class AskedPorts:
    """The ports that the services of a stack, by their names, are to have."""

    def __init__(self, specs: Mapping[str, ServiceSpec]) -> None:
        self._specs = specs
        self._asked: dict[tuple[str, int], list[tuple[str, PortConfig]]] = {}
        for name, spec in specs.items():
            for port in _published_ports(spec.ports):
                self._asked.setdefault((port.protocol, port.published_port), []).append((name, port))

    def without_passed_on(self, present: Service) -> Service:
        """Return a service of the stack without the ports that others of it are to have and it is not."""
        endpoint, spec = present.endpoint, present.spec
        if endpoint is not None:
            endpoint = msgspec.structs.replace(endpoint, ports=self._kept(present.name, endpoint.ports))
        if spec.endpoint_spec is not None:
            ports = self._kept(present.name, spec.endpoint_spec.ports)
            spec = msgspec.structs.replace(spec, endpoint_spec=msgspec.structs.replace(spec.endpoint_spec, ports=ports))
        return msgspec.structs.replace(present, spec=spec, endpoint=endpoint)

    def _kept(self, name: str, ports: Iterable[PortConfig]) -> tuple[PortConfig, ...]:
        return tuple(port for port in ports if not self._is_passed_on(name, port))

    def _is_passed_on(self, name: str, port: PortConfig) -> bool:
        wanted = self._specs[name].ports
        return any(
            other != name and conflict(port, asked) and not _in_conflict(asked, wanted)
            for other, asked in self._asked.get((port.protocol, port.published_port), ())
        )


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


def _in_conflict(port: PortConfig, others: Iterable[PortConfig]) -> bool:
    return bool(port.published_port) and any(conflict(port, other) for other in others)
