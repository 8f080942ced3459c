"""What `deploy/install --upgrade` takes for managers that all answer."""

import os
import subprocess
from pathlib import Path

import pytest

UPGRADE = Path(__file__).parents[3] / "deploy" / "upgrade.sh"
# The functions of deploy/install that are used, and what it knows.
BEGINNING = f"""
PREFIX=$PWD
mkdir -p releases/1
ln -s releases/1 current
die() {{ echo "$*"; exit 1; }}
. {UPGRADE}
runs() {{ return 0; }}
"""


def said(folder: Path, statuses: str, then: str) -> tuple[int, str]:
    """Run a line of bash after the script, where the manager says this of all; return its exit code and output."""
    program = folder / "swarm-manager"
    program.write_text(f"#!/bin/sh\nprintf '{statuses}'\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["bash", "-uc", BEGINNING + then]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert not ended.stderr
    return ended.returncode, ended.stdout


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (r"Leader\nReachable\n\n", 0),
        (r"Reachable\nReachable\n", 1),
        (r"Leader\nUnreachable\n", 1),
        (r"Leader\nJoining\n", 1),
    ],
)
def test_managers_answer_when_one_leads_and_none_is_awaited(tmp_path: Path, statuses: str, code: int) -> None:
    assert said(tmp_path, statuses, "managers_answer") == (code, "")


@pytest.mark.parametrize("status", ["Unreachable", "Joining"])
def test_nothing_is_upgraded_while_a_manager_is_away(tmp_path: Path, status: str) -> None:
    code, words = said(tmp_path, rf"h1 Leader\nh2 {status}\nh3\n", "upgrade")
    assert code == 1
    assert words.startswith("the manager of h2 does not answer: ")
