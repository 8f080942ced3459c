"""Files that the pages name are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("common", "manager", "worker", "tests", "deploy")
FILES = ["/" + str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def modules(page: Path) -> Iterator[str]:
    yield from re.findall(r"`([\w./-]+\.py)`", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_modules_that_a_page_names_exist(page: Path) -> None:
    assert [name for name in modules(page) if not any(path.endswith("/" + name) for path in FILES)] == []
