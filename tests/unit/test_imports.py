"""No module imports one that leads back to it: neither at the top, nor late, nor for types alone."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("common", "manager", "worker")
    for path in (ROOT / package).rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """Return the modules of ours that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in names}
    return found & FILES.keys()


def test_imports_have_no_cycle() -> None:
    graph = {module: imported(path) - {module} for module, path in FILES.items()}
    assert sum(map(len, graph.values())) > len(graph), "imports are found"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
