"""What a client asks of a new container, as far as its place depends on it. Pure.

The rest of the body is the engine's business and is passed on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common.errors import InvalidArgument
from common.model import NetworkAttachment, Task
from common.model.attachment import ATTACHMENT_LABEL, AttachedNetwork
from common.model.container import DnsConfig
from common.model.naming import Model
from common.model.service import (
    EXTENSION_PREFIX,
    NetworkAttachmentConfig,
    Placement,
    Platform,
    PortConfig,
    Reservations,
    Resources,
    TaskSpec,
)
from common.net.addressing import one_address
from common.spec.constraints import parse_all
from common.spec.extensions import CPUS_LABEL, MEMORY_LABEL
from manager.api.call import Call
from manager.api.containers.index import Port
from manager.api.containers.list import NODE_LABEL
from manager.api.containers.networks import Link, endpoints_by_network, links_by_name, parse_link, read_networks
from manager.api.errors import invalid
from manager.api.http.body import convert, normal, parse
from manager.store.view import View

# On every container that was made through this API; with what it reserves, and the ports that it publishes.
MARK_LABEL = EXTENSION_PREFIX + "container"
PORTS_LABEL = EXTENSION_PREFIX + "ports"
CONSTRAINT_LABEL = EXTENSION_PREFIX + "constraint"
# What makes a container an agent's own, to be stopped when no task claims it: never for others.
_AGENTS = ("com.docker.swarm.task", EXTENSION_PREFIX + "agent")
_MARKS = frozenset({_AGENTS[1], ATTACHMENT_LABEL})
_CONSTRAINT_ENV = "constraint:"
_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_MOST_PORTS = 4096
# What a body has beside the container's own configuration.
_BESIDES_CONFIG = frozenset({"hostconfig", "networkingconfig"})


class PortBinding(Model):
    host_ip: str = ""
    host_port: str = ""


class VolumeMount(Model):
    type: str = ""
    source: str = ""


class HostConfig(Model):
    memory: int = 0
    memory_reservation: int = 0
    nano_cpus: int = 0
    network_mode: str = ""
    pid_mode: str = ""
    ipc_mode: str = ""
    binds: tuple[str, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    publish_all_ports: bool = False
    volumes_from: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    port_bindings: dict[str, tuple[PortBinding, ...] | None] = {}


class NetworkingConfig(Model):
    endpoints_config: dict[str, Any] = {}


class ContainerCreate(Model):
    """The fields of a create body that its place depends on."""

    image: str = ""
    hostname: str = ""
    env: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    host_config: HostConfig = HostConfig()
    networking_config: NetworkingConfig = NetworkingConfig()


@dataclass(frozen=True, slots=True)
class RequestedContainer:
    """A container to be placed.

    `beside` are the containers that it must share a node with, `links` those that it has names for, `volumes` the named
    volumes that it uses. `body` is the client's, decoded, its keys as they came. `networks` are the cluster's that it
    is to be in, `endpoints` what the client said of them, by their ids.
    """

    name: str
    image: str
    body: dict[str, Any]
    constraints: tuple[str, ...] = ()
    platform: str = ""
    ports: tuple[Port, ...] = ()
    nano_cpus: int = 0
    memory: int = 0
    beside: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[AttachedNetwork, ...] = ()
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    hostname: str = ""
    dns: DnsConfig | None = None
    publishes: bool = False

    def attachment(self, node_id: str) -> NetworkAttachment:
        """Return what stands for the container in the cluster's networks."""
        return NetworkAttachment(
            node_id=node_id,
            name=self.name,
            hostname=self.hostname,
            networks=self.networks,
            dns=self.dns,
            publishes=self.publishes,
        )

    def as_task(self) -> Task:
        """Return the task that the scheduler would place alike."""
        os, _, architecture = self.platform.partition("/")
        platforms = (Platform(os=os, architecture=architecture.partition("/")[0]),) if self.platform else ()
        reservations = Reservations(nano_cpus=self.nano_cpus, memory_bytes=self.memory)
        spec = TaskSpec(
            resources=Resources(reservations=reservations),
            placement=Placement(constraints=self.constraints, platforms=platforms),
            networks=tuple(NetworkAttachmentConfig(target=each.target) for each in self.networks),
        )
        return Task(spec=spec, ports=tuple(map(host_port, self.ports)))


def host_port(port: Port) -> PortConfig:
    return PortConfig(protocol=port.protocol, published_port=port.number, publish_mode="host", host_ip=port.address)


def read(call: Call, view: View) -> RequestedContainer:
    """Read and check a request to create a container.

    Raises:
        EngineError: 400, a field is of the wrong type, a constraint is malformed, a label is not a user's to give, or
            there is no such network; 403, a network that unmanaged containers cannot join.

    """
    call.require_json()
    body = parse(call.body)
    asked = convert(ContainerCreate, normal(ContainerCreate, body))
    if all(key.lower() in _BESIDES_CONFIG for key in body):
        raise invalid("config cannot be empty in order to create a container")
    host = asked.host_config
    name = call.query.get("name", "")
    if name and _NAME.fullmatch(name) is None:
        raise invalid(f"Invalid container name ({name[:200]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    _check_labels(asked.labels)
    networks = read_networks(host.network_mode, asked.networking_config.endpoints_config, view)
    links = tuple(map(parse_link, host.links))
    if networks and links:
        first = networks[0]
        first = msgspec.structs.replace(first, links={**links_by_name(links), **first.links})
        networks = (first, *networks[1:])
    return RequestedContainer(
        name=name.removeprefix("/"),
        image=asked.image,
        body=body,
        constraints=_constraints(asked),
        platform=call.query.get("platform", ""),
        ports=tuple(_ports(host)),
        nano_cpus=host.nano_cpus,
        memory=host.memory_reservation or host.memory,
        beside=tuple(_beside(host)),
        links=links,
        volumes=tuple(_volumes(host)),
        networks=networks,
        endpoints=endpoints_by_network(asked.networking_config.endpoints_config, view) if networks else {},
        hostname=asked.hostname,
        dns=_dns(host),
        publishes=bool(host.port_bindings) or host.publish_all_ports,
    )


def _check_labels(labels: dict[str, str]) -> None:
    for label in labels:
        if label in _MARKS or label == _AGENTS[0] or label.startswith(_AGENTS[0] + "."):
            raise invalid(f"label {label} is reserved for the cluster: a container cannot have it")


def _dns(host: HostConfig) -> DnsConfig | None:
    found = DnsConfig(nameservers=host.dns, search=host.dns_search, options=host.dns_options)
    return found if found != DnsConfig() else None


def _constraints(asked: ContainerCreate) -> tuple[str, ...]:
    """Collect `swarm.x.constraint` (several are separated by commas) and `constraint:EXPRESSION` of the environment."""
    label = asked.labels.get(CONSTRAINT_LABEL, "")
    expressions = [each.strip() for each in label.split(",")]
    expressions += [each.removeprefix(_CONSTRAINT_ENV) for each in asked.env if each.startswith(_CONSTRAINT_ENV)]
    found = tuple(each for each in expressions if each)
    try:
        parse_all(found)
    except InvalidArgument as error:
        raise invalid(error.message) from None
    return found


def _ports(host: HostConfig) -> Iterator[Port]:
    """Yield the host ports that are asked for; where a range or none is given, the engine chooses."""
    for key, bindings in host.port_bindings.items():
        protocol = key.partition("/")[2] or "tcp"
        for binding in bindings or ():
            if binding.host_port.isdecimal() and 0 < int(binding.host_port) < 65536:
                yield Port(protocol, int(binding.host_port), one_address(binding.host_ip))


def _beside(host: HostConfig) -> Iterator[str]:
    for mode in (host.network_mode, host.pid_mode, host.ipc_mode):
        if mode.startswith("container:"):
            yield mode.removeprefix("container:")
    yield from (each.partition(":")[0] for each in host.volumes_from)


def _volumes(host: HostConfig) -> Iterator[str]:
    yield from (mount.source for mount in host.mounts if mount.type == "volume" and mount.source)
    for bind in host.binds:
        source, colon, _ = bind.partition(":")
        if colon and source and not source.startswith(("/", "~", ".")):
            yield source


def engine_body(wanted: RequestedContainer, image_labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the body for the engine: with our labels, without what was meant for the scheduler alone.

    An image that was committed from a task's container carries the labels that made that one an agent's own: they are
    blanked, or the agent would take the new container for a stray.
    """
    body = dict(wanted.body)
    labels = dict(_take(body, "Labels") or {})
    labels.pop(NODE_LABEL, None)
    labels |= {name: "" for name in image_labels if name in _MARKS or name.startswith(_AGENTS[0])}
    labels[MARK_LABEL] = ""
    if wanted.ports:
        labels[PORTS_LABEL] = ",".join(f"{p.address}:{p.number}/{p.protocol}" for p in wanted.ports)
    if wanted.nano_cpus:
        labels[CPUS_LABEL] = str(wanted.nano_cpus)
    if wanted.memory:
        labels[MEMORY_LABEL] = str(wanted.memory)
    env = [each for each in _take(body, "Env") or () if not each.startswith(_CONSTRAINT_ENV)]
    return {**body, "Labels": labels, "Env": env}


def _take(body: dict[str, Any], name: str) -> Any:
    """Remove a key, however it is spelled, and return its value."""
    found = None
    for key in [key for key in body if key.lower() == name.lower()]:
        found = body.pop(key)
    return found


def ports_of_label(text: str) -> tuple[Port, ...]:
    """Read the label that `engine_body` has written; what others made of it is left out."""
    ports = []
    for each in text.split(",")[:_MOST_PORTS]:
        where, _, protocol = each.partition("/")
        address, _, number = where.rpartition(":")
        if protocol and number.isdecimal():
            ports.append(Port(protocol, int(number), address))
    return tuple(ports)
