"""Compose files: which of a folder's swarm-manager and docker take, and where their results differ.

Each file that has `services` is put to `docker stack config` and to our loader, alone, with a `.env` beside it and no
other variables. Printed are the counts, and of each file that is not equal the first difference.
"""

from __future__ import annotations

import argparse
import enum
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.cli.compose import ComposeError
from manager.cli.compose.render import as_tree
from tests.bench.table import print_table
from tests.compose_corpus import Case, ask_docker, docker_environment, load_case
from tests.compose_corpus.compare import comparable, differences
from tests.docker_cli.program import unfit

_SERVICES = re.compile(rb"^[\"']?services[\"']?\s*:", re.MULTILINE)
_LONGEST = 200


class Who(enum.Enum):
    """Who takes a file, and with which result."""

    EQUAL = "both, equal"
    DIFFER = "both, differ"
    OURS = "only ours"
    DOCKERS = "only docker"
    NEITHER = "neither"


@dataclass(frozen=True)
class Result:
    """What became of one file; `why`: the first difference, or the first words of who refuses it."""

    who: Who
    why: str = ""


def compose_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that look like compose files, by name."""
    for path in sorted(folder.rglob("*.y*ml")):
        if path.suffix in (".yml", ".yaml") and path.is_file() and _SERVICES.search(path.read_bytes()):
            yield path


def compare(path: Path) -> Result:
    """Put one file to both."""
    case, environment = Case(path.stem, (path.resolve(),)), {"HOME": os.environ.get("HOME", "/")}
    refusal = ""
    try:
        ours = comparable(as_tree(load_case(case, environment=environment)))
    except (ComposeError, UnicodeDecodeError) as error:
        ours, refusal = {}, str(error)
    try:
        known = docker_environment(case, environment)
    except ComposeError:  # of the `.env`, which docker does not read
        known = {"PATH": os.environ["PATH"], **environment}
    theirs, error = ask_docker(case, known)
    if refusal:
        return Result(Who.NEITHER if theirs is None else Who.DOCKERS, _first_line(refusal))
    if theirs is None:
        return Result(Who.OURS, _first_line(error))
    different = next(differences(ours, comparable(theirs)), None)
    if different is None:
        return Result(Who.EQUAL)
    where, here, there = different
    return Result(Who.DIFFER, f"{where}: {here!r} here, {there!r} there"[:_LONGEST])


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")[:_LONGEST]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run compose --", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of compose files; those in it are looked through, too")
    folder: Path = parser.parse_args(argv).folder
    if why := unfit():
        print(why, file=sys.stderr)
        return 2
    results = {path: compare(path) for path in compose_files(folder)}
    counts = Counter(result.who for result in results.values())
    print_table(f"compose files below {folder}", ("who takes it", "files"), [(who.value, counts[who]) for who in Who])
    for who in (Who.DIFFER, Who.OURS, Who.DOCKERS):
        if counts[who]:
            print(f"\n{who.value}")
        for path, result in results.items():
            if result.who is who:
                print(f"  {path.relative_to(folder)}: {result.why}")
    return 0
