"""A test is called by what holds, in a name that fits on the line of a result."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
LONGEST = 60
"""Characters of a test's name."""

_DEFINITION = re.compile(r"^ *(?:async def |def )?(test_\w+)(?: = |\()", re.MULTILINE)


def names(source: str) -> list[str]:
    """Return the names of the tests that a file defines: functions, methods, and classes under a test's name."""
    return _DEFINITION.findall(source)


def test_functions_methods_and_assigned_tests_have_names():
    source = "def test_a(): ...\nasync def test_b(): ...\ntest_c = Machine.TestCase\nclass T:\n    def test_d(self):\n"
    assert names(source) == ["test_a", "test_b", "test_c", "test_d"]


def test_no_name_is_too_long():
    files = {path: names(path.read_text()) for path in TESTS.rglob("test_*.py")}
    assert sum(map(len, files.values())) > 1000
    found = ((path.relative_to(TESTS), name) for path, defined in files.items() for name in defined)
    assert not [f"{path}::{name}" for path, name in found if len(name) > LONGEST]
