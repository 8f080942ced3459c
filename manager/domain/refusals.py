"""What was refused of workers' messages: in memory only; a new leader has none, and gets them again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused field of a node's message.

    `field` is `STRUCT.FIELD`, as in the table of docs/protocol.md; `reason` is a sentence for a person.
    """

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """What was refused in one field of one node: the newest reason, how often, and when last (Unix seconds)."""

    field: str
    reason: str
    count: int
    at: float


class Refusals:
    """The refused fields of each node; their number is bounded, whatever a node sends."""

    def __init__(self) -> None:
        self._told: dict[str, set[str]] = {}
        self._by_node: dict[str, dict[str, Refused]] = {}

    def of(self, node_id: str) -> Sequence[Refused]:
        """Return what of a node was refused, in the order of the fields' names."""
        return sorted(self._by_node.get(node_id, {}).values(), key=lambda each: each.field)

    def add(self, node_id: str, refusals: Iterable[Refusal], now: float) -> list[Refusal]:
        """Count refusals; return those in fields that are refused for the first time of this node, for the log."""
        new = []
        for refusal in refusals:
            fields = self._by_node.setdefault(node_id, {})
            known = fields.get(refusal.field, Refused(refusal.field, "", 0, now))
            fields[refusal.field] = replace(known, reason=refusal.reason, count=known.count + 1, at=now)
            told = self._told.setdefault(node_id, set())
            if refusal.field not in told:
                told.add(refusal.field)
                new.append(refusal)
        return new

    def keep(self, node_id: str, fields: Collection[str], refusals: Iterable[Refusal]) -> None:
        """Forget earlier refusals in these fields that are not among the new ones."""
        refused = {refusal.field for refusal in refusals}
        known = self._by_node.get(node_id, {})
        for field in [field for field in known if field in fields and field not in refused]:
            del known[field]

    def forget(self, node_id: str) -> None:
        """Forget a removed node."""
        self._by_node.pop(node_id, None)
        self._told.pop(node_id, None)
