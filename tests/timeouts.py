"""A test that takes too long ends, whatever it is at.

pytest-timeout raises its own exception, once. Where that meets a task or a callback, asyncio keeps it for who awaits
the task, which may be nobody; Hypothesis takes it for a counterexample, and tries that again; and what cleans up after
a test that failed has no limit at all. A KeyboardInterrupt ends the loop and Hypothesis, and here it comes again.
"""

import asyncio
import gc
import io
import signal
from collections.abc import Generator
from types import FrameType
from typing import Any

import pytest
import pytest_timeout

# What cleans up is given as long as the test was, and at most so long.
CLEAN_UP_SECONDS = 120.0

_limits = pytest.StashKey[float]()
_in_phase = pytest.StashKey[bool]()
_timed_out = pytest.StashKey[bool]()


class TimedOut(KeyboardInterrupt):
    """A test, or what sets it up or cleans up after it, took too long."""


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: Any, settings: pytest_timeout.Settings) -> bool:
    """Interrupt the test when its time is over, and again what has not ended after that."""

    def end(_: int, __: FrameType | None) -> None:
        if not item.stash.get(_in_phase, False):  # pytest itself is at work; this comes again
            return
        if not settings.disable_debugger_detection and pytest_timeout.is_debugging():
            return
        terminal = item.config.get_terminal_writer()
        pytest_timeout.dump_stacks(terminal)
        terminal.write(_tasks())
        raise TimedOut(f"Timeout (>{settings.timeout} s)")

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    item.cancel_timeout = cancel  # which pytest-timeout calls
    item.stash[_limits] = min(settings.timeout, CLEAN_UP_SECONDS)
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, item.stash[_limits])
    return True


def _tasks() -> str:
    """Say where the tasks of the running loop are: the interrupted frame is the loop's own most of the time."""
    text = io.StringIO()
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no loop runs
        return ""
    for task in tasks:
        task.print_stack(file=text)
    return text.getvalue()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let go of what a test that was interrupted has left, tasks that never end above all.

    They log a traceback when they are collected, which parses; and Python 3.11 cannot do that while it parses.
    """
    try:
        return (yield)
    finally:
        if item.stash.get(_timed_out, False):
            gc.collect()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _failing(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _failing(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Limit it also after a test that failed, where pytest-timeout has ended the timer."""
    if (limit := item.stash.get(_limits, None)) is not None and not any(signal.getitimer(signal.ITIMER_REAL)):
        signal.setitimer(signal.ITIMER_REAL, limit, limit)
    return (yield from _failing(item))


def _failing(item: pytest.Item) -> Generator[None, Any, Any]:
    """Have a phase of a test fail, and not end all others, when it took too long."""
    try:
        item.stash[_in_phase] = True
        try:
            return (yield)
        finally:
            item.stash[_in_phase] = False
    except TimedOut as error:
        item.stash[_timed_out] = True
        pytest.fail(str(error))
