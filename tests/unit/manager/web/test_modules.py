"""The dashboard's modules: what they import is there, none is long, and no text can become markup or code."""

import configparser
import re
from pathlib import Path

import pytest

from manager.api.dashboard import FOLDER

MODULES = sorted((FOLDER / "js").rglob("*.js"))
MOST_LINES = 300
_IMPORT = re.compile(r'^import (?:(\w+)|\{([^}]*)\}) from "([^"]+)";$', re.MULTILINE)
_LATER = re.compile(r'\(await import\("([^"]+)"\)\)\.(\w+)')
_EXPORT = re.compile(
    r"^export (?:async )?(?:function\*?|class|const|let) (\w+)|^export async function\* (\w+)", re.MULTILINE
)
# Ways by which a string becomes markup or code, or a page asks another host for something.
_DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|dangerouslySet"
    r"|createContextualFragment|srcdoc|javascript:|https?://"
)


def imports(path: Path) -> list[tuple[list[str], str]]:
    return [
        ([default] if default else [each.strip().split(" as ")[0] for each in names.split(",") if each.strip()], source)
        for default, names, source in _IMPORT.findall(path.read_text())
    ]


def later_imports(path: Path) -> list[tuple[list[str], str]]:
    """Return what a module imports when it is needed."""
    return [([name], source) for source, name in _LATER.findall(path.read_text())]


def exports(path: Path) -> set[str]:
    return {one or other for one, other in _EXPORT.findall(path.read_text())}


def named(page: str) -> set[str]:
    """Return the names that a page's import map has."""
    text = (FOLDER / page).read_text()
    return set(re.findall(r'^    "([^"]+)": "/dashboard/static/vendor/', text, re.MULTILINE))


def test_there_are_modules() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_what_is_imported_is_there(path: Path) -> None:
    page = "terminal.html" if path.name == "terminal.js" else "index.html"
    found = [*imports(path), *later_imports(path)]
    assert path.read_text().count("await import(") == len(later_imports(path))
    for names, source in found:
        if not source.startswith("."):
            assert source in named(page), f"the import map of {page} lacks {source}"
            continue
        target = (path.parent / source).resolve()
        assert target.is_file(), f"{path.name} imports {source}, which is not there"
        assert set(names) <= exports(target), f"{source} does not export {set(names) - exports(target)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_is_one_thought(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_text_becomes_markup_or_code(path: Path) -> None:
    code = re.sub(r"^\s*(//|\*|/\*).*$", "", path.read_text(), flags=re.MULTILINE)
    assert not _DANGEROUS.findall(code)


@pytest.mark.parametrize("page", ["index.html", "terminal.html"])
def test_pages_ask_nobody_else(page: str) -> None:
    assert not re.search(r"https?://|//[a-z]", (FOLDER / page).read_text())


def test_every_file_of_the_pages_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(FOLDER.parents[1] / "setup.cfg")
    patterns = [each.strip() for each in setup["options.package_data"]["manager"].split(",")]
    installed = {path for pattern in patterns for path in FOLDER.parent.glob(pattern)}
    own = {path for path in FOLDER.rglob("*") if path.is_file() and not path.is_relative_to(FOLDER / "vendor")}
    assert {path.name for path in own - installed} == {"package.json", "package-lock.json", "tsconfig.json"}
