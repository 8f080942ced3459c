"""Which of several nodes with the same host name owns it: the first, and when that is gone or renamed, the next."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from common.model import Node
from common.net.addressing import fold
from manager.domain import hostnames
from manager.store.changes import Change, Decision, Draft
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random


def decide(view: View, keys: Collection[str], now: float, _rng: Random) -> Decision:
    """Decide the names that are `keys`, in lower case: exactly one node owns each."""
    draft = Draft()
    for name in keys:
        if draft.full:
            draft.wake(name, now)
            continue
        for node in hostnames.resolve_name_conflicts(view, name):
            draft.put(node)
            who = "another node's, which had it first" if node.hostname_taken else "its own from now on"
            draft.reason(f"the host name {node.name} of node {node.id} is {who}")
    return draft.decision()


def concerned_names(change: Change, _view: View) -> Iterable[str]:
    """Name the old and new host names of a node, when they may have another owner."""
    nodes = [node for node in (change.old, change.new) if isinstance(node, Node)]
    news = {(node.name, node.member, node.hostname_taken) for node in nodes}
    return {fold(node.name) for node in nodes if node.name} if len(nodes) == 1 or len(news) > 1 else ()


def all_names(view: View) -> Iterable[str]:
    return {fold(node.name) for node in view.nodes if node.name}
