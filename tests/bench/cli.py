"""Command line: from the key to the last word of commands that ask little, beside docker's and `python -c pass`.

All commands run in turn, again and again, so that what else the machine does meets them alike. The manager's API runs
in a process of its own, with its store in memory; both command lines ask it over its unix socket. Ratios are those of
the best times.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.api import SERVICES, TASKS, server
from tests.bench.table import print_table

ROUNDS = 30
TARGET = 6.0
PASS = "python -c pass"
_OWN = "import sys; from manager.program import main; sys.argv[0] = 'swarm-manager'; main()"


def _commands(socket: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return the commands by what they are called, each with the environment variables that it needs."""
    own = [sys.executable, "-c", _OWN]
    manager, docker = {"SWARM_MANAGER_HOST": f"unix://{socket}"}, {"DOCKER_HOST": f"unix://{socket}"}
    line = "swarm-manager service ls --f"
    commands = {
        PASS: ([sys.executable, "-c", "pass"], {}),
        "swarm-manager --version": ([*own, "--version"], {}),
        "swarm-manager --help": ([*own, "--help"], {}),
        **{
            f"swarm-manager {words}": ([*own, *words.split()], manager)
            for words in ("service ls", "service ps s0", "node ls", "stack ls", "service inspect s0", "status")
        },
        "completion of a flag": (own, {"_SWARM_MANAGER_COMPLETE": "bash_complete", "COMP_WORDS": line}),
        "completion of a name": (
            own,
            {"_SWARM_MANAGER_COMPLETE": "bash_complete", "COMP_WORDS": "swarm-manager service ps s", **manager},
        ),
    }
    if shutil.which("docker"):
        theirs = {words: (["docker", *words.split()], docker) for words in ("version", "service ls", "service ps s0")}
        commands |= {f"docker {words}": command for words, command in theirs.items()}
    return commands


def _seconds(command: list[str], variables: dict[str, str]) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **variables}  # as installed: compiled once
    ran = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    took = time.perf_counter() - started
    if ran.returncode:
        raise RuntimeError(f"{command} {variables}: {ran.returncode} {ran.stderr}")
    return took


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run cli", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args(argv).rounds
    with server(SERVICES, TASKS) as (socket, _):
        commands = _commands(socket)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                took = _seconds(*command)
                if number:  # the first compiles and fills caches
                    times[name].append(took)
    least = min(times[PASS])
    rows = [(name, min(each) * 1000, statistics.median(each) * 1000, min(each) / least) for name, each in times.items()]
    notes = (f"target: --version and service ls at most {TARGET:g} times {PASS}",)
    print_table(
        f"{SERVICES} services, {TASKS} tasks; {rounds} rounds",
        ("command", "best ms", "median ms", "ratio"),
        rows,
        notes,
    )
    return 0
