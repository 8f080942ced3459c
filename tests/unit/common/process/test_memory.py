"""The garbage collector is spared, and works again after that; a crash leaves nothing of the memory on the disk."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.process.memory import without_collecting


def test_nothing_is_collected_meanwhile() -> None:
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_collected_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="bad"), without_collecting():
        raise ValueError("bad")
    assert gc.isenabled()


def test_who_wants_none_collected_is_left_alone() -> None:
    with without_collecting():
        with without_collecting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
_TELLS = """
import ctypes, resource, subprocess, sys
from common.process.memory import keep_memory_off_disk
resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.RLIM_INFINITY))
if sys.argv[1] == "private":
    keep_memory_off_disk()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
started = subprocess.run(["sh", "-c", "ulimit -c"], capture_output=True, text=True).stdout.strip()
print(dumpable, resource.getrlimit(resource.RLIMIT_CORE)[0], started)
"""


@pytest.mark.parametrize(("how", "told"), [("plain", "1 4096 8"), ("private", "0 0 0")])
def test_neither_it_nor_what_it_starts_leaves_a_core(how: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TELLS, how], check=True, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.stdout == f"{told}\n"
