"""Whoever changes `X.py` finds its tests: where they stand follows from where the module stands.

Looked for in this order, as CONTRIBUTING.md says:

1. `test_X.py` in the same folder below `tests/unit`;
2. of a folder that is used through its front alone, `test_FOLDER.py` beside it;
3. `test_X.py` in another stage (`tests/prop`, `tests/sim`, …) that imports the module;
4. where behaviour needs several modules at once, the file that `ELSEWHERE` names.

A module without a function has nothing to test: its kinds are tested where they are used.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
UNIT = TESTS / "unit"

ELSEWHERE: dict[str, str] = {}


def modules() -> dict[str, Path]:
    """Find the modules that have functions, by their paths below the root."""
    found = (path for package in ("common", "manager", "worker") for path in (ROOT / package).rglob("*.py"))
    return {str(path.relative_to(ROOT)): path for path in found if has_functions(path.read_text())}


def has_functions(source: str) -> bool:
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(source)))


def imports(test: Path, module: str) -> bool:
    """Whether a test imports a module, given as `common.ids`."""
    package, _, name = module.rpartition(".")
    nodes = [node for node in ast.walk(ast.parse(test.read_text())) if isinstance(node, ast.ImportFrom)]
    return any(
        node.module == module or (node.module == package and any(alias.name == name for alias in node.names))
        for node in nodes
    )


def has_tests(path: str) -> bool:
    """Whether tests of a module stand where they are looked for."""
    module = Path(path)
    own = module.parent if module.stem == "__init__" else module.with_suffix("")
    places = [UNIT / own.parent / f"test_{own.name}.py"]
    places += [UNIT / folder.parent / f"test_{folder.name}.py" for folder in [own.parent] if folder.parts[1:]]
    if any(place.exists() for place in places):
        return True
    others = (each for each in TESTS.glob(f"*/test_{own.name}.py") if each.parent != UNIT)
    return any(imports(each, ".".join(own.parts)) for each in others)


def test_every_module_with_functions_has_tests_that_are_found() -> None:
    found = modules()
    assert len(found) > 500, "modules are found"
    assert sorted(path for path in found if not has_tests(path) and path not in ELSEWHERE) == []


def test_no_module_is_listed_that_needs_it_no_more() -> None:
    found = modules()
    assert [path for path in ELSEWHERE if path not in found or has_tests(path)] == []
    assert [test for test in ELSEWHERE.values() if not (TESTS / test).exists()] == []


def test_a_module_of_data_needs_no_tests() -> None:
    assert not has_functions("class A:\n    x: int = 1\n")
    assert has_functions("class A:\n    def f(self): ...\n")
