"""Plain containers (`docker run`) in networks of the cluster: who is in which, with which address and names."""

from __future__ import annotations

from common.model.container import DnsConfig, Mount
from common.model.naming import Model, Object

# On a container that was made with an attachment: its id, so that the two find each other whoever was away meanwhile.
ATTACHMENT_LABEL = "swarm.x.attachment"


class AttachedNetwork(Model):
    """A network that a container is to be in. `address` is the one that its user asked for, empty for any.

    `links` are names that it alone has for other containers: name → the container's own name, or its short id.
    """

    target: str = ""
    aliases: tuple[str, ...] = ()
    address: str = ""
    links: dict[str, str] = {}


class AttachedEnd(Model):
    """What the worker has for a container in one of the engine's networks.

    `network` is the engine's name; `network_id` the cluster's id, or `MESH` for the way out. `address` is empty where
    the engine chooses, `address6` where the network has no IPv6. `aliases` are what the engine must answer itself, as
    no name server of the cluster does.
    """

    network: str = ""
    network_id: str = ""
    address: str = ""
    address6: str = ""
    aliases: tuple[str, ...] = ()


class AttachmentStatus(Model):
    """What the worker said last. `container_id` is empty until it has seen the container, `name` is without a slash.

    `dns` and `mounts` are name servers and a resolv.conf for the container; `err` says why a network cannot be had.
    `gone`: there was a container, and there is none any more.
    """

    container_id: str = ""
    name: str = ""
    running: bool = False
    ends: tuple[AttachedEnd, ...] = ()
    dns: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    err: str = ""
    gone: bool = False


class NetworkAttachment(Object):
    """One plain container of a node in networks of the cluster, from before it is made until after it is gone.

    `hostname` is its own name for itself, where it was given one. `container_id` is set when the manager knows it.
    `publishes` and `gateway` say whether it needs the network that leads out of the host: `gateway` is False for one
    that has another. `ended_at` (Unix seconds; 0: not yet) is when its last network was taken from it: the record stays
    for a while, so that the addresses of its node are not given to another one at once.
    """

    node_id: str = ""
    name: str = ""
    hostname: str = ""
    container_id: str = ""
    networks: tuple[AttachedNetwork, ...] = ()
    dns: DnsConfig | None = None
    publishes: bool = False
    gateway: bool = True
    ended_at: float = 0.0
    status: AttachmentStatus = AttachmentStatus()

    @property
    def container(self) -> str:
        """The container's id, empty while none is known."""
        return self.container_id or self.status.container_id

    @property
    def live(self) -> bool:
        return not self.ended_at

    def names(self) -> tuple[str, ...]:
        """Return what it answers to in every network, besides its name: its short id, its own name for itself."""
        found = dict.fromkeys((self.container[:12], self.hostname))
        return tuple(name for name in found if name and name != self.name)

    def end_in(self, network_id: str) -> AttachedEnd | None:
        return next((end for end in self.status.ends if end.network_id == network_id), None)
