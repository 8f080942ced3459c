"""The keys of encrypted networks: made, rotated and taken back. Pure.

All nodes with a part of an encrypted network have a WireGuard key pair of the same generation. A rotation makes the
next generation beside the present one; workers change over by themselves, each pair of hosts as soon as both have it.
The old generation goes when every such node is there and has had the time.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from common.errors import FailedPrecondition
from common.model import Cluster, Node
from common.model.node import TunnelKey
from manager.store.changes import Decision
from manager.store.view import View

KEY = "tunnel-keys"
"""The one key of this decision: all keys are of one generation."""

ROTATE_SECONDS = 12 * 3600.0
OVERLAP_SECONDS = 60.0
"""For how long two generations are there, at least: the next handshakes begin within 5 s."""

LONGEST_OVERLAP = 3600.0
"""A node that is away for longer has the old keys only, and nobody to talk to until it comes back."""

KEY_BYTES = 32


def keep_keys(view: View, now: float, rng: random.Random) -> Decision:
    """Give every node that takes part the keys it lacks, and rotate them by their age."""
    members = encrypted_network_nodes(view)
    if not members:
        return Decision(put=tuple(_with_keys(node, ()) for node in view.nodes if node.tunnel_keys))
    cluster = view.cluster
    overlap_ends = _overlap_ends(view, members, now)
    if not cluster.tunnel_generation or now >= cluster.tunnel_rotated_at + ROTATE_SECONDS:
        cluster = next_generation(cluster, now)
        overlap_ends = now + OVERLAP_SECONDS
    current = cluster.tunnel_generation
    wanted = {current - 1, current} if overlap_ends > now else {current}
    changed = [
        node for node in view.nodes if (node.id in members or node.tunnel_keys) and not _suits(node, members, wanted)
    ]
    rotated = cluster is not view.cluster
    return Decision(
        put=(
            *((cluster,) if rotated else ()),
            *(_with_keys(node, _keys(node, wanted, rng) if node.id in members else ()) for node in changed),
        ),
        wake_at={KEY: _next_look(cluster, overlap_ends, now)},
        reasons=(f"encrypted networks now use keys of generation {current}",) if rotated else (),
    )


def rotate(view: View, now: float) -> Cluster:
    """Return the cluster with its keys rotated; `keep_keys` makes them.

    Raises:
        FailedPrecondition: there is nothing to rotate, or the last rotation is not through. Two at once would skip a
            generation, and the one after the next has the link of the present one.

    """
    members = encrypted_network_nodes(view)
    if not members:
        raise FailedPrecondition("no node has a part of an encrypted network: there are no keys to rotate")
    if not all(_has_only(node, view.cluster.tunnel_generation) for node in view.nodes):
        away = now >= view.cluster.tunnel_rotated_at + OVERLAP_SECONDS and _away(view, members)
        when = "when all nodes with a part of an encrypted network are connected, or " if away else ""
        left = max(1.0, _overlap_ends(view, members, now) - now)
        raise FailedPrecondition(f"the last rotation of the keys is not finished: try again {when}in {left:.0f} s")
    return next_generation(view.cluster, now)


def encrypted_network_nodes(view: View) -> frozenset[str]:
    """Name the nodes with a part of an encrypted network."""
    return frozenset(node_id for each in view.networks if each.spec.encrypted for node_id in each.leases)


def next_generation(cluster: Cluster, now: float) -> Cluster:
    return msgspec.structs.replace(cluster, tunnel_generation=cluster.tunnel_generation + 1, tunnel_rotated_at=now)


def _overlap_ends(view: View, members: Collection[str], now: float) -> float:
    """Return until when the generation before the present one is kept: later than now as long as it is."""
    rotated_at = view.cluster.tunnel_rotated_at
    soonest, latest = rotated_at + OVERLAP_SECONDS, rotated_at + LONGEST_OVERLAP
    return latest if now >= soonest and _away(view, members) else soonest


def _away(view: View, members: Collection[str]) -> bool:
    """Whether a node that takes part is not connected."""
    nodes = (view.nodes.get(node_id) for node_id in members)
    return any(node is not None and node.status.state != "ready" for node in nodes)


def _has_only(node: Node, generation: int) -> bool:
    """Whether all of a node's keys are of this generation, as they are when no rotation is under way."""
    return all(key.generation == generation for key in node.tunnel_keys)


def _next_look(cluster: Cluster, overlap_ends: float, now: float) -> float:
    return overlap_ends if overlap_ends > now else cluster.tunnel_rotated_at + ROTATE_SECONDS


def _suits(node: Node, members: Collection[str], wanted: Collection[int]) -> bool:
    """Whether a node has the newest key and no older ones than are wanted; one that came late has one only."""
    generations = {key.generation for key in node.tunnel_keys}
    return node.id in members and max(wanted) in generations and generations <= set(wanted)


def _keys(node: Node, wanted: Iterable[int], rng: random.Random) -> tuple[TunnelKey, ...]:
    """Return the keys that a node keeps, and a new one of the newest generation if it has none."""
    newest = max(wanted)
    kept = {key.generation: key for key in node.tunnel_keys if key.generation in set(wanted)}
    if newest not in kept:
        kept[newest] = _new_key(newest, rng)
    return tuple(kept[generation] for generation in sorted(kept))


def _new_key(generation: int, rng: random.Random) -> TunnelKey:
    private = rng.randbytes(KEY_BYTES)
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return TunnelKey(generation=generation, private=private, public=public)


def _with_keys(node: Node, keys: tuple[TunnelKey, ...]) -> Node:
    return msgspec.structs.replace(node, tunnel_keys=keys)
