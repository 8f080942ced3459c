"""What the data plane is to know, as typed values: others choose no text in them, except where it says so. Pure.

There are tens of thousands of backends, so their addresses are bytes (4, or 16 for IPv6), as the kernel and DNS use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

import msgspec

from common.model.node import TunnelKey
from common.net.addressing import Layout
from worker.intake.addresses import IPRange, Port
from worker.intake.entries import Refusal
from worker.intake.identifiers import NO_NAME, DnsName, Id

# The first and the last address, packed, of containers: bytes are in the order of the numbers that they are.
Part: TypeAlias = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host of the data plane, as `common.wire.messages.Peer`."""

    node_id: Id
    number: int
    addr: IPv4Address
    keys: Mapping[int, bytes] = field(default_factory=dict)
    ipv6_addresses: tuple[IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """One of the cluster's networks.

    vips: the part of it with virtual addresses. leases: each node's own, by its id; parts: what containers may have of
    these. subnet: None for one that has none yet. prefix6: the IPv6 subnet of a dual-stack network.
    mtu: the most that its user wants, 0 for none.
    labels: for the engine alone, as they came; so is `docker`, the network's name there.
    """

    id: Id
    name: DnsName
    docker: str
    subnet: IPv4Network | None = None
    vips: IPv4Network | None = None
    prefix6: IPv6Network | None = None
    leases: Mapping[Id, IPv4Network] = field(default_factory=dict)
    parts: Mapping[Id | None, Part] = field(default_factory=dict)
    internal: bool = False
    encrypted: bool = False
    mtu: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ranges(self) -> tuple[IPRange, ...]:
        return tuple(part for part in (self.subnet, self.prefix6) if part is not None)


class PublishedPort(msgspec.Struct, frozen=True):
    """A port of every node, and that of the containers behind it."""

    port: Port
    target: int


class Backend(msgspec.Struct, frozen=True, gc=False):
    """A task behind a service, as `common.wire.messages.Backend`.

    addresses: in the networks of this host, by their ids, and for the routing mesh under `MESH` and `MESH6`; all in the
    parts that the task's node has of these.
    node_id: None for a plain container.
    """

    task_id: Id
    slot: int
    node_id: Id | None
    addresses: Mapping[str, bytes]
    hostname: DnsName = NO_NAME


class Endpoint(msgspec.Struct, frozen=True):
    """How a service, or a plain container, is reached, as `common.wire.messages.ServiceEndpoint`.

    vips, aliases: in the networks of this host, by their ids. stack: only compared, and so as it came.
    """

    service_id: Id
    name: DnsName
    stack: str
    vips: Mapping[str, bytes]
    aliases: Mapping[str, tuple[DnsName, ...]]
    ports: tuple[PublishedPort, ...] = ()
    backends: tuple[Backend, ...] = ()
    draining: tuple[Backend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWorld:
    """All that the data plane is to know: this node's number, its networks, every endpoint and peer, by id.

    pool: how the cluster's addresses are divided, None while nobody has said, or where this node's number is none of
    it; mesh6: the IPv6 prefix of tunnels and gateways, None where the cluster has none.
    data_path_port: that of all tunnels, 0: the usual one.
    tunnel_keys: the node's own for encrypted networks, None until a manager has said which.
    refused: what is left out of it, and why.
    """

    node_number: int = 0
    pool: Layout | None = None
    mesh6: IPv6Network | None = None
    data_path_port: int = 0
    networks: Mapping[str, Network] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    peers: Mapping[str, Peer] = field(default_factory=dict)
    tunnel_keys: tuple[TunnelKey, ...] | None = None
    refused: tuple[Refusal, ...] = ()

    @property
    def networks_refused(self) -> tuple[Refusal, ...]:
        """The networks that are left out as a whole; names are their ids, as they came."""
        return tuple(each for each in self.refused if each.kind == "network")
