"""A test that hangs fails when its time is over, and the tests after it run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BEFORE = """
import asyncio
import threading
import time

ended = threading.Event()
"""

# With what pytest-timeout does alone, each of these hangs for ever.
HANGS = {
    "a background task that never rests": """
async def test_hang():
    async def busy():
        while True:
            time.sleep(0.01)
            await asyncio.sleep(0)
    task = asyncio.create_task(busy())
    await asyncio.Event().wait()
""",
    "a callback that comes again": """
async def test_hang():
    def again():
        time.sleep(0.01)
        asyncio.get_running_loop().call_soon(again)
    again()
    await asyncio.Event().wait()
""",
    "a task that ignores that it is cancelled": """
async def test_hang():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
""",
    "a thread that is waited for": """
async def test_hang():
    await asyncio.to_thread(ended.wait)
""",
}

AFTER = """
def test_after():
    ended.set()
"""


@pytest.mark.parametrize("hang", HANGS)
def test_a_hang_fails_and_the_next_test_runs(tmp_path: Path, hang: str) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(BEFORE + HANGS[hang] + AFTER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "tests.timeouts", "-p", "no:cacheprovider", "--timeout=2")
    result = subprocess.run([*command, test], cwd=ROOT, capture_output=True, text=True, timeout=45, check=False)
    assert "Timeout (>2.0 s)" in result.stdout, result.stdout + result.stderr
    assert "1 passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 1
