"""Peers, networks and endpoints of an assignment set become the world that the data plane works with. Pure.

Each is read when it is sent, and stays the very same value until it is sent again. What endpoints say of addresses is
looked up besides, whenever a network or a peer they have to do with has changed (`worker.intake.parts`).
"""

from __future__ import annotations

from functools import partial

from common.wire.messages import ServiceEndpoint
from worker.assignments import AssignmentSet
from worker.intake.entries import Entries, Refusal, Refuse
from worker.intake.hosts import (
    read_layout,
    read_mesh_prefix,
    read_network,
    read_peer,
    read_tunnel_keys,
    read_tunnel_port,
)
from worker.intake.identifiers import identifier
from worker.intake.parts import PlacedEndpoints
from worker.intake.services import Here, read_endpoint
from worker.intake.world import Endpoint, NetworkWorld


class NetworkIntake:
    """Makes one world after another for the node `node_id`."""

    def __init__(self, node_id: str) -> None:
        own = identifier(node_id)
        self._peers = Entries("node", read_peer, unique=lambda peer: ("number", peer.number))
        # A bridge's name has room for the first part of an id only.
        self._networks = Entries(
            "network", partial(read_network, own), unique=lambda network: ("bridge", network.id[:12])
        )
        self._here: Here = {}
        self._endpoints = Entries("service", self._read_endpoint)
        self._placed = PlacedEndpoints(own)

    def world(self, found: AssignmentSet) -> NetworkWorld:
        """Take in an assignment set; whatever it says, this does not fail."""
        refused: list[Refusal] = []
        pool = read_layout(found, refused)
        mesh6 = read_mesh_prefix(found, refused) if pool is not None else None
        networks, peers = self._networks.take(found.networks, refused), self._peers.take(found.peers, refused)
        here = {name: network.vips for name, network in networks.items()}
        if here != self._here:
            self._here = here
            self._endpoints.forget()
        endpoints = self._endpoints.take(found.endpoints, refused)
        parts = self._placed.parts_of(pool, mesh6, found.node_number, peers, networks)
        return NetworkWorld(
            node_number=found.node_number if pool is not None else 0,
            pool=pool,
            mesh6=mesh6,
            data_path_port=read_tunnel_port(found.data_path_port, refused),
            networks=networks,
            endpoints=self._placed.take(endpoints, parts, refused),
            peers=peers,
            tunnel_keys=read_tunnel_keys(found.tunnel_keys, refused),
            refused=tuple(refused),
        )

    def _read_endpoint(self, sent: ServiceEndpoint, refuse: Refuse) -> Endpoint:
        return read_endpoint(self._here, sent, refuse)
