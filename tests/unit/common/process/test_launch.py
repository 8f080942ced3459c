"""The first moments of both programs, as a process of its own sees them."""

import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = "import common.process.launch; common.process.launch.launch('{}')"


def ran(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    (folder / "loaded.py").write_text(text)
    path = f"{folder}:{Path(__file__).parents[3]}"
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
