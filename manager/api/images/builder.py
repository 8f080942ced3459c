"""Whose engine does what only one node can do, and which engine is told clients' credentials for registries.

The engine of this manager's own host is as trustworthy as the manager. Any other is one worker's, which may lie about
its own work, and must not learn what opens a registry.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

import msgspec

from common.model import Node
from manager.api.call import Call
from manager.api.context import Context
from manager.api.engine.presence import is_ready, ready_nodes
from manager.api.errors import EngineError

_PREFERS_BUILDKIT = 23
# For one registry, and, of builds, for many.
_AUTH, _CONFIG = "x-registry-auth", "x-registry-config"


def own_engine(context: Context) -> str | None:
    """Return the node of this manager's own host; None where that has no worker, or it is away."""
    node_id = context.identity.node_id
    return node_id if is_ready(context.store.view.nodes.get(node_id)) else None


def builder(context: Context) -> str:
    """Choose the node for what happens on one and is then the cluster's: builds, pulls, loads.

    It is the same every time, so that the last build's layers are there: the manager's own host, if it has an agent,
    else an active node.

    Raises:
        EngineError: 503, there is none.

    """
    node = _builder(context)
    if node is None:
        raise EngineError(503, "no engine can be reached, on this manager's host or on an active node")
    return node.id


def builder_version(context: Context) -> str:
    """Return what clients are told to build with: "2", BuildKit, or "1" where the builder's engine prefers its own.

    Engines since 23 prefer BuildKit.
    """
    node = _builder(context)
    release = node.description.engine.engine_version.partition(".")[0] if node is not None else ""
    return "1" if release.isdecimal() and int(release) < _PREFERS_BUILDKIT else "2"


def by_suitability(context: Context) -> list[Node]:
    """Return the nodes whose engines can be asked, in the order in which they are taken for what one alone does."""
    return sorted(ready_nodes(context.store.view), key=lambda node: _rank(context, node))


def _builder(context: Context) -> Node | None:
    usable = (node for node in by_suitability(context) if not _rank(context, node)[1])
    return next(usable, None)


def _rank(context: Context, node: Node) -> tuple[bool, bool, str]:
    own = node.id == context.identity.node_id
    return not own, not own and node.spec.availability != "active", node.id


def for_engine(context: Context, node_id: str, call: Call) -> Call:
    """Return a call as a node's engine may see it: without credentials, unless it is that of this manager's host."""
    if node_id == context.identity.node_id:
        return call
    kept = {name: value for name, value in call.headers.items() if name not in {_AUTH, _CONFIG}}
    return replace(call, headers=kept)


def has_credentials(call: Call) -> bool:
    """Whether a call carries credentials for a registry; clients send the header without any, too."""
    text = call.headers.get(_AUTH, "")
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return bool(text)
    return bool(found) and (not isinstance(found, dict) or any(found.values()))
