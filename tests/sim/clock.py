"""An event loop whose time jumps: it never waits, so hours pass in seconds, the same way every time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Nothing is left that could ever happen, and the simulation has not ended."""


class Livelock(AssertionError):
    """Things happen again and again in one instant, and time does not go on."""


# Turns of the loop in one instant: the largest stories take some thousands.
_MOST_TURNS = 200_000


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for sockets it moves the loop's time to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("every task waits for another")
        self._turns += 1
        if timeout > 0:
            self.now += timeout
            self._turns = 0
        if self._turns > _MOST_TURNS:
            self._turns = 0  # what still runs is cancelled next, and is to end: else the tests after this fail as well
            raise Livelock(f"time stands still at {self.now}")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; `time` is virtual. No sockets, no threads: what needs them does not belong into a simulation."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
