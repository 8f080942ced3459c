"""What the store knows of volumes beside what engines say: who uses them, and those of nodes that do not answer.

What it forgets when a volume is removed through the API, is here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from common.clock import to_the_second
from common.model import Volume
from common.model.volume import volume_id
from manager.api.call import Filters
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.lookup import labels_match, passes
from manager.domain.hostnames import node_name
from manager.domain.volume_claims import holders, in_use
from manager.store.transaction import Transaction
from manager.store.view import View


def status(node_id: str, name: str, view: View) -> dict[str, str]:
    """Return the `Status` of a volume: its state, and the slots that use it."""
    copy = view.volumes.get(volume_id(node_id, name))
    used_by = ", ".join(holders(node_id, name, view))
    found = {"State": _state(node_id, copy, view), "UsedBy": used_by}
    return {key: value for key, value in found.items() if value}


def ambiguous(reference: str, copies: Iterable[tuple[str, str]], view: View) -> EngineError:
    """Make the answer to a reference that means several volumes: what to write for each, and who uses it.

    copies: their nodes' ids and their names there.
    """
    words = sorted(
        f"{node_name(view, node_id)}/{name} (used by {', '.join(holders(node_id, name, view)) or 'nobody'})"
        for node_id, name in copies
    )
    return EngineError(409, f"several nodes have a volume {reference}: write {' or '.join(words)} instead")


def usage(node_id: str, name: str, view: View) -> dict[str, Any]:
    """Return a volume's `UsageData`, once its size was measured: bytes of disk, and how many slots use it."""
    copy = view.volumes.get(volume_id(node_id, name))
    if copy is None or copy.size < 0:
        return {}
    return {"UsageData": {"Size": copy.size, "RefCount": len(holders(node_id, name, view))}}


def _state(node_id: str, copy: Volume | None, view: View) -> str:
    if copy is not None and copy.missing_since:
        return f"removed on its host at {to_the_second(copy.missing_since)}"
    node = view.nodes.get(node_id)
    if node is None or node.status.state == "down":
        return "node down"
    if copy is not None and copy.data_id and not copy.generation:
        return "unfinished"
    if copy is not None and copy.role:
        return copy.role
    if copy is not None and (older := _older_in_use(copy, view)):
        return f"unclaimed, newer than on {older}"
    return "shared" if copy is not None and copy.shared else "ready"


def _older_in_use(copy: Volume, view: View) -> str:
    """Name the node whose older copy of the same data counts: a move was broken off just before its commit."""
    if not copy.data_id or holders(copy.node_id, copy.name, view):
        return ""
    others = (each for each in view.volumes.named(copy.name) if each.data_id == copy.data_id)
    older = (each for each in others if each.generation < copy.generation)
    return next((node_name(view, each.node_id) for each in older if holders(each.node_id, each.name, view)), "")


def unanswered(view: View, answered: set[str], known: set[tuple[str, str]], filters: Filters) -> Iterator[Volume]:
    """Yield the volumes that no engine lists: of nodes that did not answer, and those that are missing on their hosts.

    `known` are the nodes and names of those that are listed.
    """
    for copy in view.volumes:
        if (copy.node_id, copy.name) in known or (copy.node_id in answered and not copy.missing_since):
            continue
        tests = {
            "dangling": lambda values, copy=copy: _is_dangling(copy, view) == bool({"true", "1", "True"} & set(values)),
            "driver": lambda values, copy=copy: copy.driver in values,
            "label": lambda values, copy=copy: labels_match(copy.labels, values),
            "name": lambda values, copy=copy: any(value in copy.name for value in values),
        }
        if passes(filters, tests):
            yield copy


def _is_dangling(copy: Volume, view: View) -> bool:
    return not holders(copy.node_id, copy.name, view)


def listed(copy: Volume) -> dict[str, Any]:
    """Render a record as engines list volumes."""
    return {
        "Name": copy.name,
        "Driver": copy.driver,
        "Mountpoint": "",
        "Labels": copy.labels or None,
        "Options": copy.options or None,
        "Scope": "local",
        "CreatedAt": to_the_second(copy.created_at),
    }


async def forget(context: Context, node_id: str, name: str) -> None:
    """Drop the record of a copy that is gone by an operator's word, and what services that are gone remember of it."""
    await context.store.update(lambda tx: _forget(node_id, name, tx))


async def forget_missing(context: Context, node_id: str, name: str) -> bool:
    """Forget the copies of a name that are missing on their hosts, if no service there is has its data in them.

    `node_id` names the only node that is meant, if not empty. Returns whether there were any.
    """

    def step(tx: Transaction) -> bool:
        copies = [each for each in tx.volumes.named(name) if each.missing_since and node_id in ("", each.node_id)]
        gone = [each.node_id for each in copies if not holders(each.node_id, name, tx)]
        for each in gone:
            _forget(each, name, tx)
        return bool(gone)

    return await context.store.update(step)


def _forget(node_id: str, name: str, tx: Transaction) -> None:
    copy = tx.volumes.get(volume_id(node_id, name))
    if copy is not None:
        tx.remove(copy)
    for claim in list(tx.volume_claims.named(name)):
        if claim.node_id == node_id and not in_use(claim, tx):
            tx.remove(claim)
