"""The first moments of both programs, as a process of its own sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = "import common.process.launch; common.process.launch.launch('{}')"


def ran(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    (folder / "loaded.py").write_text(text)
    path = f"{folder}:{Path(__file__).parents[4]}"
    return subprocess.run(
        [sys.executable, "-c", LAUNCH.format("loaded")],
        env={"PYTHONPATH": path, **environment},
        capture_output=True,
        check=False,
    )


def test_an_interruption_while_the_program_loads_says_nothing(tmp_path: Path) -> None:
    result = ran(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", "1 ? 2 \u00e9"), ("utf-8", "1 \u2192 2 \u00e9")])
def test_what_the_terminal_cannot_show_is_a_question_mark(tmp_path: Path, encoding: str, shown: str) -> None:
    text = "def main():\n    print('1 \\u2192 2 \\u00e9')"
    result = ran(tmp_path, text, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stdout.decode(encoding).strip()) == (0, shown)


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}

_MAKES = """
import os, sys
from pathlib import Path
from common.process.launch import refuse_others_writing
os.umask(int(sys.argv[1], 8))
refuse_others_writing()
Path("a/b").mkdir(parents=True)
Path("a/b/file").write_text("x")
"""


@pytest.mark.parametrize(
    ("umask", "folder", "file"), [("000", 0o755, 0o644), ("022", 0o755, 0o644), ("077", 0o700, 0o600)]
)
def test_others_may_not_write_whatever_the_umask_is(tmp_path: Path, umask: str, folder: int, file: int) -> None:
    subprocess.run([sys.executable, "-c", _MAKES, umask], cwd=tmp_path, check=True, env=ENVIRONMENT)
    made = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert made == {"a": folder, "a/b": folder, "a/b/file": file}
