"""Nodes: the machines of the cluster."""

from __future__ import annotations

from common.model.naming import Model, Specified
from common.model.service import GenericResource, Platform


class NodeSpec(Model):
    """What an operator sets. `role`: worker or manager; `availability`: active, pause or drain.

    `name`: the host name that the node has in the cluster, in place of the one that it joined with.
    """

    name: str = ""
    labels: dict[str, str] = {}
    role: str = "worker"
    availability: str = "active"


class NodeResources(Model):
    nano_cpus: int = 0
    memory_bytes: int = 0
    generic_resources: tuple[GenericResource, ...] = ()


class Plugin(Model):
    type: str = ""
    name: str = ""


class EngineDescription(Model):
    engine_version: str = ""
    api_version: str = ""
    min_api_version: str = ""
    labels: dict[str, str] = {}
    plugins: tuple[Plugin, ...] = ()


class PlainContainers(Model):
    """Running containers of a host that are not tasks of it, and what they reserve."""

    count: int = 0
    nano_cpus: int = 0
    memory_bytes: int = 0


class NodeDescription(Model):
    """What a worker says of its host; `lacks` has a sentence for each right or tool that it misses.

    `encryption`: what carries encrypted networks there, `wireguard` (the kernel's) or `wireguard-go`; empty: nothing.
    `ipv6`: whether it takes tasks of dual-stack networks.
    `ipv6_addresses`: the host's own, sorted, without those that no other host reaches it at.
    `plain`: what runs there beside tasks. `measures`: whether it measures its host when it is told to.
    `volumes`: whether it says which named volumes it has, and starts tasks on no other data than theirs.
    `snapshots`: whether it copies volumes on its own host, and pauses containers for a copy.
    `clock`: whether it says what its clock shows when it measures its host.
    """

    hostname: str = ""
    platform: Platform = Platform()
    resources: NodeResources = NodeResources()
    engine: EngineDescription = EngineDescription()
    lacks: tuple[str, ...] = ()
    agent_version: str = ""
    encryption: str = ""
    ipv6: bool = True
    ipv6_addresses: tuple[str, ...] = ()
    plain: PlainContainers = PlainContainers()
    measures: bool = False
    volumes: bool = False
    snapshots: bool = False
    clock: bool = False


# What a lost node and one that left are `down` for.
SILENT = "no sign of life"
LEFT = "the worker has left the swarm"


class NodeStatus(Model):
    """`state`: unknown, down, ready or disconnected. `addr` is the node's address as its peers reach it.

    A node is disconnected while its agent, which was stopped on purpose, may yet come back: it keeps its tasks, and
    takes no new ones.
    """

    state: str = "unknown"
    message: str = ""
    addr: str = ""


class ManagerStatus(Model):
    """What a node is as a manager. `awaited`: it has joined as one, and was not heard of as one since."""

    leader: bool = False
    reachability: str = "reachable"
    addr: str = ""
    certificate_step: int = 0
    awaited: bool = False


class ClockOffset(Model):
    """By how many seconds a worker's clock is ahead of the manager's (negative: behind), `since` an instant."""

    seconds: int = 0
    since: float = 0.0


class TunnelKey(Model):
    """A node's WireGuard key pair, 32 bytes each, of one generation (`Cluster.tunnel_generation`)."""

    generation: int = 0
    private: bytes = b""
    public: bytes = b""

    def __repr__(self) -> str:
        return f"TunnelKey(generation={self.generation}, public={self.public.hex()})"


class Joining(Model):
    """What the first session of a node's worker adds to the node's spec; an empty `availability` leaves that as it is.

    Only the manager's own node waits for it: with every other node that joins the spec is the worker's from the start.
    `engine` is the id of the worker's engine, `hostname` what that calls the host.
    """

    labels: dict[str, str] = {}
    availability: str = ""
    engine: str = ""
    hostname: str = ""


# In place of a serial number: whichever certificate of the node it uses first. See `manager/restore.py`.
ANY_CERTIFICATE = "any"


class Node(Specified):
    """A node as stored.

    `agent` says whether a worker has joined as this node: a manager alone is a node without one, and gets no tasks.
    `number` is the node's lease in the data plane (1…4095), 0 before it has one. `image_port` (TCP) is where its worker
    serves images to others, 0 if nowhere. `certificate_serials` lists the serial numbers (decimal text) of the worker
    certificates that are valid for it; the one in use is of the authority's step `certificate_step`, the newest of
    `next_certificate_step` (`RootKey.step`). `tunnel_keys` are those of a node with a part of an encrypted network; the
    private halves are for nobody but that node. `joining` is there from a join to the first session after it: if that
    does not come, the join is taken back. `hostname_taken`: another node had its name first, and constraints on
    `node.hostname` mean that one. `manager_serials` are those of a manager's certificates that are valid;
    its etcd, if it has one, is reached at `etcd_addr` (`HOST:PORT`). `clock_offset`: how far the worker's clock is off,
    None while it agrees with the manager's, or says nothing.
    """

    spec: NodeSpec = NodeSpec()
    description: NodeDescription = NodeDescription()
    status: NodeStatus = NodeStatus()
    manager_status: ManagerStatus | None = None
    agent: bool = False
    number: int = 0
    image_port: int = 0
    certificate_serials: tuple[str, ...] = ()
    joining: Joining | None = None
    tunnel_keys: tuple[TunnelKey, ...] = ()
    hostname_taken: bool = False
    manager_serials: tuple[str, ...] = ()
    etcd_addr: str = ""
    certificate_step: int = 0
    next_certificate_step: int = 0
    clock_offset: ClockOffset | None = None

    @property
    def name(self) -> str:
        """What the operator calls it, else the host name that it joined with."""
        return self.spec.name or self.description.hostname

    @property
    def left(self) -> bool:
        """Whether no worker speaks for it: none has joined, or the one that had has left, and taken its tasks along."""
        return not self.certificate_serials

    @property
    def member(self) -> bool:
        """Whether its name and its addresses are its own still: a worker speaks for it, or may yet, or it manages."""
        return not self.left or self.manager_status is not None
