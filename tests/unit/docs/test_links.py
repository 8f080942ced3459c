"""Links between pages lead to a file that exists and, behind `#`, to one of its headings; no page is lost."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    return CODE.sub("``", FENCE.sub("", page.read_text()))


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link of a page to another part of this project."""
    for target in LINK.findall(prose(page)):
        name, _, anchor = target.partition("#")
        if ":" not in name:
            yield (page.parent / name).resolve() if name else page, anchor


def anchors(page: Path) -> set[str]:
    """Return what links may name of a page, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        f"{file.name}#{anchor}"
        for file, anchor in links(page)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]
    assert broken == []


def test_the_list_of_all_pages_has_each() -> None:
    listed = {file for file, _ in links(ROOT / "docs" / "architecture.md")}
    pages = set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "architecture.md"}
    assert {page.name for page in pages - listed} == set()
