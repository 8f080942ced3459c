"""docs/security.md names tests that show what it claims: these exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.unit.test_names import names

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "security.md"
# `test_file.py::test_name`
_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def defined(file: str) -> Iterator[str]:
    """Yield the tests in all files of a name."""
    for path in (PROJECT / "tests").rglob(file):
        yield from names(path.read_text())


def test_every_test_that_is_named_exists() -> None:
    named = set(_TEST.findall(PAGE.read_text()))
    assert len(named) > 50
    assert not sorted(f"{file}::{test}" for file, test in named if test not in set(defined(file)))


def test_every_line_of_the_threat_model_names_a_test() -> None:
    model = PAGE.read_text().partition("### A stranger")[2].partition("### What was tried")[0]
    claims = [
        line for line in model.splitlines() if line.startswith("|") and "shown by" not in line and "---" not in line
    ]
    assert not [line for line in claims if not _TEST.search(line)]
