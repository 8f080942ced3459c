"""How workers' connections do: when each node was heard last, how often it connected, how late it applies. Pure.

It is there before and after a leadership; what another leader has heard it does not know. Instants are the event
loop's. Readers, which have the store at hand, drop removed nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

# Sets of assignments that a worker has not said to have applied; of more the oldest are not measured.
_MOST_UNAPPLIED = 100


@dataclass(frozen=True, slots=True)
class Contact:
    """A node that was heard of: `age` seconds ago, after it had connected so many times.

    `clock_offset`: by how many seconds its clock is ahead of this manager's; None while that is not known.
    """

    age: float
    connects: int
    clock_offset: float | None = None


class Contacts:
    """Keeps them. `delay` is told how long a worker took to apply what it was sent, in seconds."""

    def __init__(self, delay: Callable[[float], None] = lambda _: None) -> None:
        self.delay = delay
        self._heard: dict[str, Callable[[], float]] = {}
        self._connects: dict[str, int] = {}
        self._offsets: dict[str, float] = {}

    def begun(self, node_id: str, heard: Callable[[], float]) -> None:
        """Note that a node connected; `heard` returns when something was last heard of it."""
        self._connects[node_id] = self._connects.get(node_id, 0) + 1
        self._heard[node_id] = heard

    def ended(self, node_id: str, heard_at: float) -> None:
        """Note that a node's connection is gone, on which something was last heard at an instant."""
        self._heard[node_id] = lambda: heard_at
        self._offsets.pop(node_id, None)

    def note_offset(self, node_id: str, seconds: float) -> None:
        """Note by how many seconds the clock of a connected node is ahead of this manager's."""
        self._offsets[node_id] = seconds

    def of(self, nodes: Container[str], now: float) -> Mapping[str, Contact]:
        """Return what is known of these nodes, by their ids; forget the others."""
        for gone in [each for each in self._heard if each not in nodes]:
            del self._heard[gone], self._connects[gone]
            self._offsets.pop(gone, None)
        return {
            node_id: Contact(max(0.0, now - heard()), self._connects[node_id], self._offsets.get(node_id))
            for node_id, heard in self._heard.items()
        }

    def age(self, node_id: str, now: float) -> float | None:
        """Return how many seconds ago a node was heard; None if it never was."""
        heard = self._heard.get(node_id)
        return max(0.0, now - heard()) if heard is not None else None


class Deliveries:
    """What one worker was sent and has yet to apply; `delay` as for `Contacts`."""

    def __init__(self, delay: Callable[[float], None]) -> None:
        self._delay = delay
        self._sent: deque[tuple[int, float]] = deque(maxlen=_MOST_UNAPPLIED)

    def sent(self, number: int, at: float) -> None:
        """Note the number of a set of assignments, and when it was sent."""
        if not self._sent or self._sent[-1][0] < number:
            self._sent.append((number, at))

    def applied(self, number: int, at: float) -> None:
        """Hear that a worker has applied all sets up to a number."""
        while self._sent and self._sent[0][0] <= number:
            self._delay(max(0.0, at - self._sent.popleft()[1]))
