"""An event loop whose time jumps: it never waits, so hours pass in seconds, the same way every time."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, TypeVarTuple, Unpack

import msgspec

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(AssertionError):
    """Nothing is left that could ever happen, and the simulation has not ended."""


class Livelock(AssertionError):
    """Things happen again and again in one instant, and time does not go on."""


# Calls in one instant: the largest stories take some thousands.
_MOST_CALLS = 200_000


class _Handle(msgspec.Struct):
    """What is to be called, as a struct, which is made fast: a seed makes ten thousand."""

    call: Callable[..., object]
    args: tuple[Any, ...]
    context: contextvars.Context
    at: float
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.at


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop; `time` is virtual. No sockets, no threads: what needs them does not belong into a simulation."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._calls: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._number = itertools.count()  # of a timer: those of one instant are called in the order they were set
        self._ends = False

    def time(self) -> float:
        return self._now

    def stop(self) -> None:
        super().stop()
        self._ends = True

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, context or contextvars.copy_context(), self._now)
        self._calls.append(handle)
        return handle  # type: ignore[return-value]  # all that is asked of one

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = _Handle(callback, args, context or contextvars.copy_context(), when)
        heapq.heappush(self._timers, (when, next(self._number), handle))
        return handle  # type: ignore[return-value]  # as above

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def _run_once(self) -> None:
        """Call all that is to be called in this instant, and go on to the next."""
        calls, made = self._calls, 0
        while calls and not self._ends:
            handle = calls.popleft()
            if not handle.is_cancelled:
                handle.context.run(handle.call, *handle.args)  # what it raises ends the simulation
            made += 1
            if made > _MOST_CALLS:
                raise Livelock(f"time stands still at {self._now}")
        if not self._ends:
            self._jump()
        self._ends = False

    def _jump(self) -> None:
        timers = self._timers
        while timers:
            when, _, handle = heapq.heappop(timers)
            if not handle.is_cancelled:
                self._now = max(self._now, when)
                self._calls.append(handle)
                break
        else:
            raise Deadlock("every task waits for another")
        while timers and timers[0][0] <= self._now:
            self._calls.append(heapq.heappop(timers)[2])


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def run_each(scenario: Callable[[int], Coroutine[Any, Any, object]], seeds: Iterable[int]) -> None:
    """Run a scenario with each seed; what a seed leaves is collected before the next.

    Collecting on the way would be a tenth of the time.
    """
    gc.disable()
    try:
        for seed in seeds:
            run(scenario(seed))
            gc.collect()
    finally:
        gc.enable()
