"""What a program makes is not for others to write, and its memory is in no core dump."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

_MAKES = """
import os, sys
from pathlib import Path
from common.process.hardening import refuse_others_writing
os.umask(int(sys.argv[1], 8))
refuse_others_writing()
Path("a/b").mkdir(parents=True)
Path("a/b/file").write_text("x")
"""
_TELLS = """
import ctypes, resource, subprocess, sys
from common.process.hardening import keep_memory_off_disk
resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.RLIM_INFINITY))
if sys.argv[1] == "private":
    keep_memory_off_disk()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
started = subprocess.run(["sh", "-c", "ulimit -c"], capture_output=True, text=True).stdout.strip()
print(dumpable, resource.getrlimit(resource.RLIMIT_CORE)[0], started)
"""


@pytest.mark.parametrize(
    ("umask", "folder", "file"), [("000", 0o755, 0o644), ("022", 0o755, 0o644), ("077", 0o700, 0o600)]
)
def test_others_may_not_write_whatever_the_umask_is(tmp_path: Path, umask: str, folder: int, file: int) -> None:
    subprocess.run([sys.executable, "-c", _MAKES, umask], cwd=tmp_path, check=True, env=ENVIRONMENT)
    made = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert made == {"a": folder, "a/b": folder, "a/b/file": file}


@pytest.mark.parametrize(("how", "told"), [("plain", "1 4096 8"), ("private", "0 0 0")])
def test_neither_it_nor_what_it_starts_leaves_a_core(how: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TELLS, how], check=True, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.stdout == f"{told}\n"
