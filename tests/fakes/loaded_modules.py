"""What a command of a program has loaded when it ends."""

import os
import subprocess
import sys
from pathlib import Path

# Runs the program as its console script does, and says in a file what was loaded.
_PROGRAM = """
import sys
from importlib import import_module
from pathlib import Path
main = import_module(sys.argv.pop(1)).main
report = Path(sys.argv.pop(1))
try:
    main()
except SystemExit as end:
    report.write_text("\\n".join([str(end.code or 0), *sys.modules]))
"""


def loaded(folder: Path, *words: str, program: str = "manager.program", code: int = 0, **variables: str) -> set[str]:
    """Run a command of a program, which ends with this code, and return the modules that it has loaded in the end."""
    report = folder / "report"
    command = [sys.executable, "-c", _PROGRAM, program, str(report), *words]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **variables}, timeout=50)
    ended, *modules = report.read_text().splitlines()
    assert int(ended) == code
    return set(modules)


def among(modules: set[str], names: tuple[str, ...]) -> list[str]:
    """Return those modules that have one of these names, or are in a package that has."""
    return sorted(each for each in modules if any(each == name or each.startswith(f"{name}.") for name in names))


def others(modules: set[str]) -> list[str]:
    """Return the modules that are not Python's own, nor how this tree is installed."""
    names = (*sys.stdlib_module_names, "__editable___swarm_0_1_0_finder", "_distutils_hack")
    return sorted(each for each in modules if each.partition(".")[0] not in names)
