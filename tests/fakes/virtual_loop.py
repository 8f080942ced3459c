"""An event loop whose clock jumps: nothing is waited for, so hours pass in milliseconds, the same every time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> Any:
        waits = self.threads > 0 and timeout != 0  # for what a thread does no time passes
        ready = super().select(None if waits else 0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: nothing is ready and no timer is set")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._virtual.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._virtual.threads -= 1

    async def shutdown_default_executor(self) -> None:
        """End its threads here: asyncio has one more thread do it, and would wait for that by this loop's clock."""
        executor, self._default_executor = self._default_executor, None
        if executor is not None:
            executor.shutdown()

    def stall(self, duration: float) -> None:
        """Let time pass while the loop does nothing, as when the process is stopped."""
        self._virtual.now += duration


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time that begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
