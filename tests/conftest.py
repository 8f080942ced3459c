"""What all tests share: nothing that a test needs to read, only what would otherwise go wrong silently."""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.timeouts"]

_NEEDS_ROOT = ("lab", "e2e", "clients")


def pytest_configure() -> None:
    """Let tests interrupt programs also where a shell runs all this in the background, and so ignores Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes is the machine's load as much as ours: benches judge time, tests do not.
    settings.register_profile("untimed", deadline=None)
    # CI has half an hour for everything, and runs often: a test that asks for no other number is tried half as often.
    # It judges a change, so it tries the same examples each time; new ones are found by whoever runs the tests by hand.
    settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
    settings.load_profile("ci" if os.environ.get("CI") == "true" else "untimed")


def pytest_collection_finish() -> None:
    """Keep modules and collected tests out of the garbage collector's passes, which would be a tenth of the time.

    What tests make is collected as ever.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that make namespaces say that they need root instead of failing each in its own way."""
    if os.geteuid() == 0:
        return
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in _NEEDS_ROOT:
            item.add_marker(pytest.mark.skip(reason="needs root: it makes network namespaces"))
