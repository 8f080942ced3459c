"""Every message that managers and workers exchange: the one contract between the two programs.

Those about images, volumes, measuring, of workers that go and of managers are in modules of their own, and in
`AnyMessage` with all others.

On the wire a message is the frame `[kind, id, body]`: `kind` is the struct's tag below, `id` numbers a request so that
its answer can name it (0 where no answer is due), `body` is the struct as a msgpack map. Three kinds of connection are
told apart by their first frame: `RootRequest`, `JoinRequest` or `Withdraw`, `Hello` (or `Unfit` in its place),
`StreamHello` (`RelayHello` is one of those). Workers say `ImageRequest` to each other.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from common.model.attachment import AttachmentStatus, NetworkAttachment
from common.model.network import Network
from common.model.node import NodeDescription, TunnelKey
from common.model.secret import Config, Secret
from common.model.task import Task, TaskStatus
from common.wire.image_messages import (
    BringImage,
    Brought,
    FetchImage,
    ImageGrant,
    ImageHeld,
    ImageOffer,
    ImageRequest,
    ImageSeen,
    ImageSources,
    ImageWant,
    RelayHello,
    SeekImage,
    Spared,
    SpareImages,
)
from common.wire.manager_messages import (
    NO_EPOCH,
    BecomeManager,
    Elsewhere,
    Forwarded,
    ForwardJoin,
    Link,
    LinkWelcome,
    ManagerJoin,
    ManagerJoined,
    ManagerLeave,
    ManagerRenew,
    Managers,
    ReadAt,
    ReadIndex,
    StepTaken,
    Taken,
    WireEpoch,
)
from common.wire.membership_messages import AllApplied, Applied, AwaitApplied, Goodbye, GoodbyeAck, Unfit, Withdraw
from common.wire.message import Message
from common.wire.usage_messages import HostUsage, Measure, MeasureHost, Usage
from common.wire.volume_copy import ReportVolumes, VolumeReport

# This release's, and that of the one before, which is spoken, too.
PROTOCOL_VERSION = 4
OLDEST_PROTOCOL = 3
DEFAULT_PORT = 2377
MAX_FRAME_BYTES = 16 * 1024 * 1024
# Among a task's addresses, by network id: the one that the routing mesh sends a published port's traffic to.
MESH = "mesh"
# Likewise its IPv6 address there, where its host gives it one. Those in other networks follow from the IPv4 ones.
MESH6 = "mesh6"


# --- join ---


class RootRequest(Message):
    """Ask for the root certificate, over a connection that nobody has verified yet. Holds nothing secret."""

    KIND: ClassVar[int] = 4


class RootReply(Message):
    """The root (PEM), which the client compares with the digest in its token, and the manager's clock (Unix seconds).

    Only then it dials again, with this root as its only authority, and sends its token.
    """

    KIND: ClassVar[int] = 5
    root_certificate: bytes
    clock: float


class JoinRequest(Message):
    """Ask for a certificate, over a connection whose server the client verified by the token's digest.

    `token` is the whole join token; `csr` a PEM certificate request whose subject is ignored; `clock` the client's
    Unix seconds; `labels` and `availability` the node's first spec; `engine` the id of the engine that is to be a node.
    """

    KIND: ClassVar[int] = 1
    protocol: int
    token: str
    csr: bytes
    clock: float
    hostname: str
    advertise_addr: str = ""
    labels: dict[str, str] = {}
    availability: str = "active"
    engine: str = ""


class JoinReply(Message):
    """The certificate chain (PEM, leaf first), the root (PEM), and where managers listen (`host:port`).

    `warnings` are sentences for who joins the host. `data_path_port` is the UDP port of all tunnels, 0: the usual one.
    """

    KIND: ClassVar[int] = 2
    node_id: str
    cluster_id: str
    certificate: bytes
    root_certificate: bytes
    managers: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    data_path_port: int = 0


class Refused(Message):
    """The answer before any connection is ended on purpose: a `SwarmError` code and a sentence for a person."""

    KIND: ClassVar[int] = 3
    code: str
    message: str


# --- session ---


class Hello(Message):
    """A worker's first frame, and so a small one: nothing in it may grow with what the worker holds.

    `image_port`: where it serves images to other workers, 0 if it does not listen.
    """

    KIND: ClassVar[int] = 10
    protocol: int
    description: NodeDescription
    advertise_addr: str = ""
    image_port: int = 0


class Welcome(Message):
    """The session is on, in the `protocol` that both speak, with the leader of an epoch.

    `heartbeat` is its period in seconds, `managers` lists addresses to reconnect to.
    """

    KIND: ClassVar[int] = 11
    protocol: int
    session_id: str
    node_id: str
    heartbeat: float
    managers: tuple[str, ...]
    epoch: WireEpoch = NO_EPOCH


class Heartbeat(Message):
    KIND: ClassVar[int] = 12


class HeartbeatAck(Message):
    KIND: ClassVar[int] = 13


class TaskReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    task_id: str
    status: TaskStatus


class StatusReport(Message):
    """A batch of task states. Kept by the worker and sent again until a `StatusAck` answers this frame's id."""

    KIND: ClassVar[int] = 14
    tasks: tuple[TaskReport, ...] = ()


class StatusAck(Message):
    KIND: ClassVar[int] = 15


class NodeReport(Message):
    """The host changed: resources, labels, engine version, what it lacks."""

    KIND: ClassVar[int] = 16
    description: NodeDescription


class RenewRequest(Message):
    KIND: ClassVar[int] = 17
    csr: bytes


class RenewReply(Message):
    KIND: ClassVar[int] = 18
    certificate: bytes
    root_certificate: bytes


class RenewCertificate(Message):
    """Renew now, not when it is time: the authority's root is being replaced. Since protocol 4."""

    KIND: ClassVar[int] = 83


class CertificateStored(Message):
    """The certificate with this serial number (decimal) is on the worker's disk, and in use for what it dials next."""

    KIND: ClassVar[int] = 84
    serial: str


class Leave(Message):
    """The worker leaves on purpose: it is down at once, without waiting for heartbeats. Answered by `LeaveAck`."""

    KIND: ClassVar[int] = 19


class LeaveAck(Message):
    KIND: ClassVar[int] = 20


class AttachmentState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    attachment_id: str
    status: AttachmentStatus


class AttachmentReport(Message):
    """What became of plain containers in the cluster's networks.

    Not confirmed: with every complete set a worker says again what is not as the set has it.
    """

    KIND: ClassVar[int] = 21
    attachments: tuple[AttachmentState, ...] = ()


# --- assignments ---


class Peer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Another host of the data plane: its lease number, and the address that its tunnel ends at.

    `keys`: its public WireGuard keys by generation, if it has a part of an encrypted network. `ipv6_addresses`: those
    that the host itself asks from.
    """

    node_id: str
    number: int
    addr: str
    keys: dict[int, bytes] = {}
    ipv6_addresses: tuple[str, ...] = ()


class Backend(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task behind a service. `addresses`: network id → address, and the one for the routing mesh under `MESH`.

    `hostname`: its container's own name for itself.
    """

    task_id: str
    slot: int
    node_id: str
    addresses: dict[str, str] = {}
    hostname: str = ""


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port that every node answers on, in the routing mesh."""

    protocol: str
    published: int
    target: int
    host_ip: str = ""


class ServiceEndpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a service, or a plain container (whose backend has no slot), is reached.

    `vips` maps a network's id to the service's virtual address in it, empty for `dnsrr`.

    `aliases` maps a network's id to the extra names there. `backends` may get traffic now; `draining` ones stop: they
    get no new connection, those that they have go on until they are no longer named here either. Sent to nodes that
    have one of its networks, and to all nodes when it publishes a port.
    """

    service_id: str
    name: str
    stack: str = ""
    vips: dict[str, str] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    ports: tuple[PublishedPort, ...] = ()
    backends: tuple[Backend, ...] = ()
    draining: tuple[Backend, ...] = ()


class Assignments(Message):
    """What a node is to run and to know. A complete set replaces all; an incremental one changes what it names.

    `results_in` numbers the set; an incremental one applies only on top of the set that its `applies_to` names, else
    the worker sends `Resync` and gets a complete set. Removed things are named by id. `address_pools` are the cluster's
    (`Cluster.default_addr_pool`), of which `node_number` has its share (`common.net.addressing`), `data_path_port` the
    UDP port of all tunnels, 0 for the usual one; both only in complete sets.
    A peer that is removed need not have been sent before. `tunnel_keys` are the node's own, private halves included;
    None: as they were. The worker keeps them in memory only. `hostname` is what the node is called in the cluster,
    where that is not what it calls itself; empty: as it was, in a complete set as it calls itself.
    """

    KIND: ClassVar[int] = 30
    complete: bool
    results_in: int
    applies_to: int = 0
    tasks: tuple[Task, ...] = ()
    removed_tasks: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    removed_secrets: tuple[str, ...] = ()
    configs: tuple[Config, ...] = ()
    removed_configs: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    removed_networks: tuple[str, ...] = ()
    attachments: tuple[NetworkAttachment, ...] = ()
    removed_attachments: tuple[str, ...] = ()
    endpoints: tuple[ServiceEndpoint, ...] = ()
    removed_endpoints: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()
    removed_peers: tuple[str, ...] = ()
    node_number: int = 0
    address_pools: tuple[str, ...] = ()
    data_path_port: int = 0
    tunnel_keys: tuple[TunnelKey, ...] | None = None
    hostname: str = ""


class Resync(Message):
    KIND: ClassVar[int] = 31


class RegistryAuth(Message):
    """Credentials for a service's pulls: the client's `X-Registry-Auth`, decoded JSON. Workers keep them in memory."""

    KIND: ClassVar[int] = 32
    service_id: str
    auth: str


# --- streams ---


class OpenStream(Message):
    """Ask the worker to dial a new connection for bulk bytes and to name `stream_id` in its `StreamHello`.

    `target`: `engine` joins it to the local engine's API socket, byte for byte; `images` speaks as an image server does
    to another worker, which is at the manager's other side; `metrics` writes the node's page of metrics, and ends.
    """

    KIND: ClassVar[int] = 40
    stream_id: str
    target: str


class StreamHello(Message):
    """First frame of a stream connection; after it, bytes without frames. `error` says why the stream cannot be.

    With `half_close` both ends send chunks (`common.wire.frames`), so that one can be done before the other.
    """

    KIND: ClassVar[int] = 41
    stream_id: str
    error: str = ""
    half_close: bool = False


AnyMessage: TypeAlias = (
    RootRequest
    | RootReply
    | JoinRequest
    | JoinReply
    | Refused
    | Hello
    | Welcome
    | Heartbeat
    | HeartbeatAck
    | StatusReport
    | StatusAck
    | NodeReport
    | AttachmentReport
    | RenewRequest
    | RenewCertificate
    | CertificateStored
    | RenewReply
    | Leave
    | LeaveAck
    | Assignments
    | Resync
    | RegistryAuth
    | OpenStream
    | StreamHello
    | SeekImage
    | ImageSeen
    | FetchImage
    | ImageSources
    | ImageGrant
    | ImageHeld
    | RelayHello
    | ImageRequest
    | ImageOffer
    | ImageWant
    | SpareImages
    | Spared
    | BringImage
    | Brought
    | Measure
    | Usage
    | MeasureHost
    | HostUsage
    | Applied
    | AwaitApplied
    | AllApplied
    | Goodbye
    | GoodbyeAck
    | Withdraw
    | Unfit
    | Elsewhere
    | Managers
    | Link
    | LinkWelcome
    | ReadIndex
    | ReadAt
    | Forwarded
    | Taken
    | ForwardJoin
    | ManagerJoin
    | ManagerJoined
    | ManagerRenew
    | ManagerLeave
    | StepTaken
    | BecomeManager
    | VolumeReport
    | ReportVolumes
)
