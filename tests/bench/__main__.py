"""The benchmark runner behind `tests/bench/run`: every module here with a `main(argv)` is a benchmark."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent


def benchmarks() -> dict[str, str]:
    """Return the first line of each benchmark's docstring by its name, without importing any."""
    found = {}
    for path in sorted(_FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if "main" in functions and path.stem != "__main__":
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main(argv: Sequence[str]) -> int:
    names, arguments = list(argv), []
    if "--" in names:
        split = names.index("--")
        names, arguments = names[:split], names[split + 1 :]
    known = benchmarks()
    if unknown := [name for name in names if name not in known]:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    if not names:
        width = max(map(len, known))
        for name, summary in known.items():
            print(f"{name.ljust(width)}  {summary}")
        return 0
    return max(importlib.import_module(f"tests.bench.{name}").main(arguments) for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
