"""A bound on the memory that engines' answers take, over all requests.

Each request has a `Lease`, which is charged while it reads and gives everything back when its own answer has been sent.
What exceeds the limits is refused; small answers never are, so that a node that sends much costs other nodes nothing.
"""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Self

from manager.api.engine.answers import BadAnswer
from manager.api.http.bounded_json import VALUE_BYTES, values_in

MIB = 1024 * 1024
# Of one answer, as it comes.
MAX_REPLY = 16 * MIB
# Of all answers that are being read and merged, decoded ones too; of one node's; and what each answer has at any rate.
MAX_TOTAL = 256 * MIB
MAX_OF_NODE = 64 * MIB
FREE = 256 * 1024


class AnswerMemory:
    """Counts what is held, by node; sizes in bytes."""

    def __init__(self, total: int = MAX_TOTAL, of_node: int = MAX_OF_NODE) -> None:
        self._limits = total, of_node
        self._of_node: Counter[str] = Counter()
        self.held = 0

    def lease(self) -> Lease:
        return Lease(self)

    def take(self, node_id: str, size: int) -> bool:
        """Hold more for a node's answers; False if that is too much."""
        total, of_node = self._limits
        if self.held + size > total or self._of_node[node_id] + size > of_node:
            return False
        self.held += size
        self._of_node[node_id] += size
        return True

    def give_back(self, node_id: str, size: int) -> None:
        self.held -= size
        self._of_node[node_id] -= size
        if not self._of_node[node_id]:
            del self._of_node[node_id]


class Lease:
    """What one request holds."""

    def __init__(self, memory: AnswerMemory) -> None:
        self._memory = memory
        self._held: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node_id, size in self._held.items():
            self._memory.give_back(node_id, size)
        self._held.clear()

    def sublease(self) -> Lease:
        """Return another lease, for what is given back before the request ends."""
        return Lease(self._memory)

    def answer(self, node_id: str, name: str) -> Hold:
        """Begin an answer of a node; `name` is the node's, for messages."""
        return Hold(self, node_id, name)

    def take(self, node_id: str, size: int) -> bool:
        if not self._memory.take(node_id, size):
            return False
        self._held[node_id] += size
        return True


class Hold:
    """What one answer takes in bytes: charged for what comes in, and for what is decoded."""

    def __init__(self, lease: Lease, node_id: str, name: str) -> None:
        self._lease = lease
        self._node_id = node_id
        self._name = name
        self._bytes = 0
        self._taken = 0
        self._needed = 0

    def charge(self, size: int) -> None:
        """Count `size` bytes that came in; raise BadAnswer if the answer is too long or there is no room for them."""
        self._bytes += size
        if self._bytes > MAX_REPLY:
            raise BadAnswer(f"the engine of node {self._name} gave an answer of more than {MAX_REPLY // MIB} MiB")
        self._need(size)

    def charge_decoding(self, text: bytes) -> None:
        """Count what a text takes once it is decoded; raise BadAnswer if there is no room for it."""
        self._need(len(text) + VALUE_BYTES * values_in(text))

    def _need(self, size: int) -> None:
        self._needed += size
        missing = self._needed - FREE - self._taken
        if missing <= 0:
            return
        if not self._lease.take(self._node_id, missing):
            raise BadAnswer(f"the engine of node {self._name} sends too much at once: there is no room for its answer")
        self._taken += missing
