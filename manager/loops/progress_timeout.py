"""The timeout of a volume's copy that makes too little progress, by the bytes that pass through the manager.

A worker's word about its progress cannot be trusted: one that sends a byte now and then would keep its place among the
copies under way for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal, TypeAlias

from common.errors import FailedPrecondition
from common.text.quantities import human_duration, human_size

# Bytes a second that every copy brings, however busy disks and hosts are; with a limit of its own, a share of that.
LEAST_RATE = 16 * 1024.0
_PART_OF_LIMIT = 0.25

# What a copy waits for: that its halves are there, that the target says what it has, the bytes of passes (of a copy
# within a node: their ends), that the target is marked, reads back what it has, that the source is removed.
Stage: TypeAlias = Literal["begin", "compare", "pass", "mark", "verify", "remove"]
_STAGES: dict[Stage, tuple[Literal["source", "target"], str]] = {
    "compare": ("target", "say what it has of it"),
    "mark": ("target", "mark it as whole"),
    "verify": ("target", "read it back"),
    "remove": ("source", "remove the old copy"),
}


def least_rate(limit: float) -> float:
    """Return the bytes a second below which a copy is too slow; `limit`: what it sends at most, 0 without one."""
    return min(LEAST_RATE, _PART_OF_LIMIT * limit) if limit > 0 else LEAST_RATE


class ProgressTimeout:
    """Ends a block that makes too little progress, and says which node was slow.

    It starts with a budget of `seconds`, which is also the maximum; each `rate` bytes between the halves add one
    second. So a copy may stall for that long, but not be slower than `rate` for ever. `source`, `target`: the nodes'
    names.
    """

    def __init__(self, seconds: float, rate: float, source: str, target: str) -> None:
        self._seconds = seconds
        self._rate = rate
        self._names = {"source": source, "target": target}
        self._timeout: asyncio.Timeout | None = None
        self._stage: Stage = "begin"
        # Since when `seconds` were not all there, and the bytes that have come since; those not counted yet.
        self._since = 0.0
        self._bytes = self._uncounted = 0
        self._takers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """Bound the block.

        Raises:
            FailedPrecondition: the budget is used up; the message says which node was slow.

        """
        try:
            async with asyncio.timeout(self._seconds) as timeout:
                self._timeout = timeout
                self.renew()
                yield
        except TimeoutError:
            if not timeout.expired():
                raise
            raise FailedPrecondition(self._describe()) from None
        finally:
            self._timeout = None

    def renew(self) -> None:
        """Refill the budget: a step was completed."""
        if self._timeout is not None and not self._timeout.expired():
            self._since = asyncio.get_running_loop().time()
            self._bytes = self._uncounted = 0
            self._timeout.reschedule(self._since + self._seconds)

    def enter(self, stage: Stage) -> None:
        """Set what is waited for from now on."""
        self._stage = stage

    def watch(self, taker: asyncio.StreamWriter) -> None:
        """Add a writer to the target: if its buffer is not empty, the target is the slow one."""
        self._takers.append(taker)

    async def count_bytes(self, data: bytes) -> None:
        """Count bytes that one half has sent to the other."""
        self._bytes += len(data)
        self._uncounted += len(data)
        timeout = self._timeout
        if self._uncounted < self._rate or timeout is None or timeout.expired():
            return
        due = (timeout.when() or 0.0) + self._uncounted / self._rate
        if due >= asyncio.get_running_loop().time() + self._seconds:
            self.renew()
        else:
            self._uncounted = 0
            timeout.reschedule(due)

    def _describe(self) -> str:
        source, target = self._names["source"], self._names["target"]
        lasted = human_duration(asyncio.get_running_loop().time() - self._since).lower()
        so_much = f"only {human_size(self._bytes)}" if self._bytes else "nothing"
        if source == target:
            return f"node {source} did not end a pass of it in {lasted}: look at its worker's log, and begin it again"
        if self._stage == "begin":
            who = f"node {source} and node {target} did not get ready for it in {lasted}"
        elif self._stage != "pass":
            one, to = _STAGES[self._stage]
            return f"node {self._names[one]} did not {to} in {lasted}: look at its worker's log, and begin it again"
        elif any(each.transport.get_write_buffer_size() for each in self._takers):
            return f"node {target} took {so_much} of it in {lasted}: look at its worker's log, and begin it again"
        else:
            given = f", all of which node {target} was given" if self._bytes else ""
            who = f"node {source} sent {so_much} of it in {lasted}{given}"
        return f"{who}: look at the logs of both workers, and begin it again"
