"""Published ports: no two services can have the same one, and none is the cluster's own. Pure.

Within one deploy of a stack a port may go from one service to another: the one that has it gives it up first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TypeAlias

import msgspec

from common.errors import InvalidArgument
from common.model import Service
from common.model.service import PortConfig, ServiceSpec
from common.net.addressing import ANY_ADDRESS, WIREGUARD_PORTS
from manager.store.view import View

_Number: TypeAlias = tuple[str, int]
"""A protocol and a published port's number."""


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
    wanted = _by_number(service.spec.ports)
    own = _own_uses(view) if wanted else {}
    for (protocol, number), ports in wanted.items():
        if any(is_same(port, other) for at, port in enumerate(ports) for other in ports[:at]):
            raise InvalidArgument(f"duplicate published port '{number}/{protocol}' in service {service.name!r}")
        if use := own.get((protocol, number)):
            text = f"port '{number}/{protocol}' is the cluster's own: {use}; publish another one"
            raise InvalidArgument(text)
    theirs: dict[str, Mapping[_Number, Sequence[PortConfig]]] = {}
    for key, ports in wanted.items():
        for other in view.services.publishing(*key):
            if other.id != service.id and not other.pending_delete:  # what is being removed goes to whoever asks next
                if other.id not in theirs:
                    theirs[other.id] = _by_number(other.published_ports)
                _check_against(other, ports, theirs[other.id][key])


def _check_against(other: Service, ours: Iterable[PortConfig], theirs: Iterable[PortConfig]) -> None:
    """Compare ports of one number."""
    for port, held in product(ours, theirs):
        if conflict(port, held):
            kind = "a host-published" if held.publish_mode == "host" else "an ingress"
            holder = f"service '{other.name}' ({other.id}) as {kind} port"
            raise InvalidArgument(f"port '{held.published_port}' is already in use by {holder}")


class AskedPorts:
    """The ports that the services of a stack, by their names, are to have."""

    def __init__(self, specs: Mapping[str, ServiceSpec]) -> None:
        self._wanted = {name: _by_number(spec.ports) for name, spec in specs.items()}
        self._asked: dict[_Number, list[tuple[str, PortConfig]]] = {}
        for name, wanted in self._wanted.items():
            for number, ports in wanted.items():
                self._asked.setdefault(number, []).extend((name, port) for port in ports)

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
        number = (port.protocol, port.published_port)
        wanted = self._wanted[name].get(number, ())
        return any(
            other != name and conflict(port, asked) and not any(conflict(asked, each) for each in wanted)
            for other, asked in self._asked.get(number, ())
        )


def _own_uses(view: View) -> Mapping[_Number, str]:
    """Say what the cluster itself has ports for."""
    uses: dict[_Number, str] = {}
    for node in view.nodes:
        if node.agent and node.image_port:
            uses["tcp", node.image_port] = "its workers serve images to each other there"
    for node in view.nodes:
        if node.manager_status is not None:
            for address in (node.manager_status.addr, node.etcd_addr):
                if (number := address.rpartition(":")[2]).isdecimal():
                    uses["tcp", int(number)] = "its manager listens there"
    uses |= {("udp", cluster.data_path_port): "the tunnels between its nodes end there" for cluster in view.clusters}
    return uses | {("udp", number): "encrypted networks between its nodes end there" for number in WIREGUARD_PORTS}


def _by_number(ports: Iterable[PortConfig]) -> Mapping[_Number, Sequence[PortConfig]]:
    """Group ports that have a number: those of different ones are never in each other's way."""
    found: dict[_Number, list[PortConfig]] = {}
    for port in ports:
        if port.published_port:
            found.setdefault((port.protocol, port.published_port), []).append(port)
    return found
