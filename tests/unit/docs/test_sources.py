"""Docstrings and comments name files that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILE = re.compile(r"`((?:[\w.-]+/)*[a-z_]+\.py)`")


def test_files_that_are_named_are_there() -> None:
    paths = [path for package in ("common", "manager", "worker", "tests") for path in (ROOT / package).rglob("*.py")]
    named = [(path, name) for path in paths if path.parts[-2] != "docs" for name in FILE.findall(path.read_text())]
    there = [str(path) for path in paths]
    assert len(named) > 10, "names are found"
    assert [f"{path}: {name}" for path, name in named if not any(other.endswith(f"/{name}") for other in there)] == []
