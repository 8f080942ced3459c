"""What the pages name exists: files of code, other pages, headings."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# `manager/store/store.py`, or the end of such a path; not a pattern (`test_X.py`).
_FILE = re.compile(r"`((?!test_[A-Z])[\w./-]+\.(?:py|js|css|html|sh))(?:::\w+)?`")
_LINK = re.compile(r"\]\(([^()\s:]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split("\n"))


def pages() -> list[Path]:
    found = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    assert len(found) > 50
    return found


def anchors(page: Path) -> set[str]:
    """Return the ids that GitHub gives to the headings of a page."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text()))
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", each).lower() for each in headings)
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in plain}


def broken(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{page.relative_to(PROJECT)}: {link}"


def test_every_file_that_a_page_names_exists() -> None:
    files = tracked()
    ends = {"/".join(each.split("/")[-number:]) for each in files for number in range(1, each.count("/") + 2)}
    named = {(page, name) for page in pages() for name in _FILE.findall(page.read_text())}
    assert len(named) > 200
    assert not sorted(f"{page.relative_to(PROJECT)}: {name}" for page, name in named if name not in ends)


def test_every_link_leads_to_a_page_and_a_heading() -> None:
    assert not [each for page in pages() for each in broken(page)]
