"""How far moves of volumes are, in memory: what is not worth a write of the store."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Gauge:
    """Bytes that were, and are to be, read in this pass, the seconds until its end, and the passes made before."""

    done: int = 0
    left: int = 0
    seconds: float = 0.0
    passes: int = 0


@dataclass(slots=True)
class TransferProgress:
    """The gauges of moves under way on this manager, by the moves' ids."""

    gauges: dict[str, Gauge] = field(default_factory=dict)
