"""The tour through the code leads somewhere: its files exist, have what it points at, and are few."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
TOUR = PAGE.partition("## An afternoon's tour")[2].partition("### The other folders")[0]
MOST = 30


def files() -> list[str]:
    return re.findall(r"`([a-z0-9_/]+\.py)`", TOUR)


def pointed_at() -> Iterator[tuple[str, str]]:
    """Yield each file of the tour with a function that the tour names right behind it."""
    yield from re.findall(r"`([a-z0-9_/]+\.py)`\s+`([a-z_]+)`", TOUR)


def test_the_tours_files_exist() -> None:
    assert [name for name in files() if not (ROOT / name).is_file()] == []


def test_the_tour_fits_an_afternoon() -> None:
    assert len(set(files())) <= MOST


def test_the_tours_functions_are_where_it_says() -> None:
    wrong = [(name, it) for name, it in pointed_at() if not re.search(rf"def {it}\b", (ROOT / name).read_text())]
    assert len(list(pointed_at())) > 10
    assert wrong == []
