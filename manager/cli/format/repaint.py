"""A table that changes: on a terminal it is shown in its own place, elsewhere again and again."""

from __future__ import annotations

import sys

from common.text.terminal import echo, pass_on, visible

# How often what services and nodes use is asked for anew, and what stands for a number that is not known.
SHOW_SECONDS = 2.0
UNKNOWN = "--"

_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"


def repaint(text: str) -> None:
    """Show a table in place of the one before."""
    if sys.stdout.isatty():
        lines = visible(text).replace("\n", f"{_END_OF_LINE}\n")
        pass_on(f"{_HOME}{lines}{_REST}")
    else:
        echo(text, nl=False)
