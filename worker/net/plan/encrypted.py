"""Encrypted networks of one host: its WireGuard links, and which of them leads to which peer. Pure.

WireGuard carries the containers' packets as they are: a link knows for each peer's key which addresses are behind it,
sends what is for them only to the holder of that key, and takes from it nothing that has another sender.

Each generation of keys has a link of its own, one of two. While there are two generations, a peer is reached by the
newest over which it has answered, else by the oldest: keys are replaced without a moment in which none is good.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from common.model.node import TunnelKey
from common.net.addressing import range_with_ipv4
from worker.intake.addresses import text_of
from worker.intake.identifiers import AddressText, InterfaceName
from worker.intake.world import Peer
from worker.net.plan.names import wireguard_link, wireguard_port
from worker.net.plan.topology import NodeTopology, Segment

# A link asks a new peer for a handshake at once when it is to keep the connection alive, and not only with a packet.
KEEP_ALIVE_SECONDS = 25


@dataclass(frozen=True, slots=True)
class WireGuardPeer:
    """`endpoint`: address and port; `ranges`: the addresses behind it, sorted."""

    public: bytes
    endpoint: tuple[IPv4Address, int]
    ranges: tuple[AddressText, ...]


@dataclass(frozen=True, slots=True)
class WireGuardLink:
    """A link as it is to be. Its private key is in memory, and in the kernel or wireguard-go, nowhere else.

    `address`: the host's own, ADDRESS/32. With none, the kernel takes what comes over a link only if it would answer
    over that link, however loose its check of the way back is to be; and a peer may have changed over first.
    """

    name: InterfaceName
    address: AddressText
    port: int
    mtu: int
    public: bytes
    private: bytes = field(repr=False)
    peers: tuple[WireGuardPeer, ...] = ()

    def config(self) -> str:
        """Write it as `wg syncconf` reads it."""
        lines = ["[Interface]", f"PrivateKey = {_text(self.private)}", f"ListenPort = {self.port}"]
        for peer in self.peers:
            address, port = peer.endpoint
            lines += [
                "[Peer]",
                f"PublicKey = {_text(peer.public)}",
                f"Endpoint = {address}:{port}",
                f"AllowedIPs = {', '.join(peer.ranges)}",
                f"PersistentKeepalive = {KEEP_ALIVE_SECONDS}",
            ]
        return "\n".join(lines) + "\n"


def links(topology: NodeTopology) -> Mapping[str, WireGuardLink] | None:
    """Return this host's links by name; None when it is not known yet: what is there stays."""
    if topology.keys is None:
        return None
    segments = [segment for segment in topology.segments.values() if segment.encrypted]
    if not segments:
        return {}
    return {link.name: link for link in (_link(topology, key, segments) for key in topology.keys)}


def way_to(topology: NodeTopology, peer: Peer) -> InterfaceName | None:
    """Return the link to a peer; None when they have no keys of one generation, and so nothing is sent."""
    shared = sorted(peer.keys.keys() & _generations(topology, peer))
    answered = [generation for generation in shared if peer.keys[generation] in topology.facts.answered]
    chosen = answered[-1:] or shared[:1]
    return wireguard_link(chosen[0]) if chosen else None


def _generations(topology: NodeTopology, peer: Peer) -> Collection[int]:
    """Return the generations of this host's keys; after a restart, before any manager has said so, by its links."""
    if topology.keys is not None:
        return {key.generation for key in topology.keys}
    return {generation for generation in peer.keys if wireguard_link(generation) in topology.facts.wireguard_links}


def _link(topology: NodeTopology, key: TunnelKey, segments: Collection[Segment]) -> WireGuardLink:
    return WireGuardLink(
        name=wireguard_link(key.generation),
        address=AddressText(f"{topology.tunnel}/32"),
        port=wireguard_port(key.generation),
        mtu=topology.encrypted_mtu,
        public=key.public,
        private=key.private,
        peers=tuple(_peers(topology, key.generation, segments)),
    )


def _peers(topology: NodeTopology, generation: int, segments: Collection[Segment]) -> Iterator[WireGuardPeer]:
    for peer in topology.peers.values():
        ranges = [part for segment in segments for part in _parts(segment, peer)]
        if ranges and generation in peer.keys:
            endpoint = (peer.addr, wireguard_port(generation))
            yield WireGuardPeer(peer.keys[generation], endpoint, tuple(sorted(ranges)))


def _parts(segment: Segment, peer: Peer) -> Iterator[AddressText]:
    """Yield a peer's part of a network, in both families where it has both."""
    lease = segment.leases.get(peer.node_id)
    if lease is not None:
        yield text_of(lease)
        if segment.prefix6 is not None:
            yield text_of(range_with_ipv4(segment.prefix6, lease))


def _text(key: bytes) -> str:
    return b64encode(key).decode()
