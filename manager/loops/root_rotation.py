"""The loop that takes the replacement of the authority's root from step to step: which changes concern it."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

from common.model import Node, RootKey
from manager.ca.rotation import decide
from manager.loops.loop import Rule
from manager.store.changes import Change, Decision
from manager.store.view import View

_KEY = "root"


def root_rotation_rule() -> Rule:
    """Say when the root is looked after. The loop's `rng` makes tokens: the operating system's in production."""
    return Rule("root-rotation", (RootKey, Node), keys_of, lambda _view: (_KEY,), _decide)


def keys_of(change: Change, _view: View) -> Iterable[str]:
    """Return the one key if a change may concern it: the root itself, and who has which certificate."""
    old, new = change.old, change.new
    concerns = isinstance(change.current, RootKey) or (
        isinstance(change.current, Node)
        and not (isinstance(old, Node) and isinstance(new, Node) and _certificates(old) == _certificates(new))
    )
    return (_KEY,) if concerns else ()


def _certificates(node: Node) -> tuple[object, ...]:
    return node.left, node.certificate_step, node.manager_status


def _decide(view: View, _keys: Collection[str], now: float, rng: random.Random) -> Decision:
    return decide(view, now, rng)
