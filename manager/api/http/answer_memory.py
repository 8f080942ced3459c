"""How much memory the answers of engines may take, all requests together: however much engines say, it stays bounded.

Each request has a `Lease`, which is charged while it reads and gives all back when its own answer has been sent. What
is beyond the limits is refused; small answers never are, so that a node that says much costs other nodes nothing.
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

    def part(self) -> Lease:
        """Return a lease of its own, for what is let go before the request is over."""
        return Lease(self._memory)

    def answer(self, node_id: str, name: str) -> Hold:
        """Begin with one answer; `name` is the node's."""
        return Hold(self, node_id, name)

    def take(self, node_id: str, size: int) -> bool:
        if not self._memory.take(node_id, size):
            return False
        self._held[node_id] += size
        return True


class Hold:
    """What one answer takes: told of its bytes as they come, and of those that are to be decoded."""

    def __init__(self, lease: Lease, node_id: str, name: str) -> None:
        self._lease = lease
        self._node_id = node_id
        self._name = name
        self._bytes = 0
        self._taken = 0
        self._needed = 0

    def came(self, size: int) -> None:
        """Raise BadAnswer when the answer has become too long."""
        self._bytes += size
        if self._bytes > MAX_REPLY:
            raise BadAnswer(f"the engine of node {self._name} gave an answer of more than {MAX_REPLY // MIB} MiB")
        self._need(size)

    def decoded(self, text: bytes) -> None:
        """Raise BadAnswer when there is no room for what is about to be decoded."""
        self._need(len(text) + VALUE_BYTES * values_in(text))

    def _need(self, size: int) -> None:
        self._needed += size
        missing = self._needed - FREE - self._taken
        if missing <= 0:
            return
        if not self._lease.take(self._node_id, missing):
            raise BadAnswer(f"the engine of node {self._name} sends too much at once: there is no room for its answer")
        self._taken += missing
