"""How both programs begin: readable on every terminal, and quiet when they are interrupted while they load."""

from __future__ import annotations

import io
import sys
from importlib import import_module

INTERRUPTED_EXIT = 130


def launch(module: str) -> None:
    """Load a program's module, which takes a second on a slow machine, and call its `main`.

    A character that the terminal's encoding lacks is written as a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        import_module(module).main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT)
