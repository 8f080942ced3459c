"""The rules of the allocator, of unmanaged containers' attachments and of encrypted networks' keys: what wakes each."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator

from common.model import Cluster, Network, NetworkAttachment, Node, Service, Task
from manager.allocate.allocator import allocate, new
from manager.allocate.attachments import decide
from manager.allocate.subnets import is_allocated
from manager.allocate.tunnel_keys import KEY, keep_keys
from manager.loops.loop import Rule
from manager.store.changes import Change, Decision
from manager.store.view import View

KEYS_A_DECISION = 500


def allocation_rule() -> Rule:
    kinds = Network, Service, Task, Node, NetworkAttachment
    return Rule("allocation", kinds, keys_of, all_keys, _decide, KEYS_A_DECISION)


def keys_of(change: Change, view: View) -> Iterable[str]:
    """Return the keys that a change concerns: objects that lack something, and leases that begin or end."""
    old, value = change.old, change.new
    match value:
        case Network() if not is_allocated(value):
            return (f"network/{value.id}",)
        case Service() if not isinstance(old, Service) or old.spec is not value.spec:
            return (f"service/{value.id}",)
        case Task() if new(value):
            return () if isinstance(old, Task) and new(old) else (f"task/{value.id}",)
    return _leases_concerned(change, view)


def _leases_concerned(change: Change, view: View) -> Iterable[str]:
    """Return the keys of the leases that a change of their holders concerns, and of what a node lacks."""
    old, value = change.old, change.new
    current = change.current
    if isinstance(current, NetworkAttachment):
        both = [each for each in (old, value) if isinstance(each, NetworkAttachment)]
        return dict.fromkeys(key for each in both for key in _leases_for(each))
    if isinstance(current, Task):
        was, now = isinstance(old, Task) and old.placed, isinstance(value, Task) and value.placed
        # A lease lingers after its last task, until that task's record is removed.
        return _leases_of(current) if value is None or was != now else ()
    if isinstance(current, Node):
        return _of_node(old if isinstance(old, Node) else None, value if isinstance(value, Node) else None, view)
    return ()


def all_keys(view: View) -> Iterator[str]:
    """Yield the keys of all objects that may lack something, or have what they no longer need."""
    yield from (f"network/{network.id}" for network in view.networks if not is_allocated(network))
    yield from (f"service/{service.id}" for service in view.services)
    yield from (f"node/{node.id}" for node in view.nodes if not node.number)
    yield from (f"task/{task.id}" for task in view.tasks if new(task))
    yield from (f"lease/{network.id}/{node_id}" for network in view.networks for node_id in network.leases)
    for task in view.tasks:
        if task.placed:
            yield from _leases_of(task)
    for attachment in view.attachments:
        yield from _leases_for(attachment)


def _decide(view: View, keys: Collection[str], now: float, _: random.Random) -> Decision:
    return allocate(view, keys, now)


def _leases_of(task: Task) -> Iterable[str]:
    return tuple(f"lease/{each.target}/{task.node_id}" for each in task.spec.networks if task.node_id)


def _leases_for(attachment: NetworkAttachment) -> Iterable[str]:
    return tuple(f"lease/{each.target}/{attachment.node_id}" for each in attachment.networks)


def _of_node(old: Node | None, value: Node | None, view: View) -> Iterator[str]:
    if value is not None and value.agent and not value.number:
        yield f"node/{value.id}"
    node = value or old
    assert node is not None
    if value is None or (old is not None and old.status.state != value.status.state):
        yield from (f"lease/{network.id}/{node.id}" for network in view.networks if node.id in network.leases)


def attachment_rule() -> Rule:
    return Rule("attachments", (NetworkAttachment, Node), attachment_keys, all_attachments, decide)


def attachment_keys(change: Change, view: View) -> Iterable[str]:
    """Name the attachment that was changed, or those of a node that came or went."""
    value = change.current
    if isinstance(value, NetworkAttachment):
        return () if change.new is None else (value.id,)
    if isinstance(value, Node) and change.new is None:
        return [attachment.id for attachment in view.attachments.on_node(value.id)]
    return ()


def all_attachments(view: View) -> Iterable[str]:
    return [attachment.id for attachment in view.attachments]


def tunnel_keys_rule() -> Rule:
    """Return the rule of tunnel keys. The loop's `rng` makes secrets: in production it is the operating system's."""
    return Rule("tunnel-keys", (Network, Node, Cluster), tunnel_key_of, all_tunnel_keys, _keep_tunnel_keys)


def tunnel_key_of(change: Change, _view: View) -> Iterable[str]:
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


def all_tunnel_keys(_view: View) -> Iterable[str]:
    return (KEY,)


def _keep_tunnel_keys(view: View, _keys: Collection[str], now: float, rng: random.Random) -> Decision:
    return keep_keys(view, now, rng)
