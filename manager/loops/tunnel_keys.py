"""The loop of the encrypted networks' keys: which changes concern them."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

from common.model import Cluster, Network, Node
from manager.allocate.tunnel_keys import KEY, keep_keys
from manager.loops.loop import Rule
from manager.store.changes import Change, Decision
from manager.store.view import View


def tunnel_keys_rule() -> Rule:
    """Say when the keys are looked after. The loop's `rng` makes secrets: the operating system's in production."""
    return Rule("tunnel-keys", keys_of, all_keys, _decide)


def keys_of(change: Change, _view: View) -> Iterable[str]:
    """Return the one key if a change may concern it: parts of encrypted networks, nodes that come, go or return."""
    old, value = change.old, change.new
    match change.current:
        case Network() as network if network.spec.encrypted:
            was = old.leases if isinstance(old, Network) else {}
            now = value.leases if isinstance(value, Network) else {}
            concerns = was.keys() != now.keys()
        case Node() as node:
            known = node.tunnel_keys and isinstance(old, Node) and isinstance(value, Node)
            concerns = bool(known) and isinstance(old, Node) and old.status.state != node.status.state
        case Cluster() as cluster:
            concerns = isinstance(old, Cluster) and old.tunnel_generation != cluster.tunnel_generation
        case _:
            concerns = False
    return (KEY,) if concerns else ()


def all_keys(_view: View) -> Iterable[str]:
    return (KEY,)


def _decide(view: View, _keys: Collection[str], now: float, rng: random.Random) -> Decision:
    return keep_keys(view, now, rng)
