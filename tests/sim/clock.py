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

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(AssertionError):
    """Nothing is left that could ever happen, and the simulation has not ended."""


class Livelock(AssertionError):
    """Things happen again and again in one instant, and time does not go on."""


# Calls in one instant: the largest stories take some thousands.
_MOST_CALLS = 200_000


class _Handle(asyncio.TimerHandle):
    """What is to be called, without what asyncio keeps to show it: that was a quarter of a simulation's time."""

    __slots__ = ()

    def __init__(
        self, call: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None, when: float
    ) -> None:
        self._callback = call
        self._args = args
        self._context = context if context is not None else contextvars.copy_context()
        self._when = when
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True


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
        handle = _Handle(callback, args, context, self._now)
        self._calls.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = _Handle(callback, args, context, when)
        heapq.heappush(self._timers, (when, next(self._number), handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Call all that is to be called in this instant, and go on to the next."""
        calls, made = self._calls, 0
        while calls and not self._ends:
            handle = calls.popleft()
            if not handle._cancelled:
                handle._context.run(handle._callback, *handle._args)  # what it raises ends the simulation
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
            if not handle._cancelled:
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
