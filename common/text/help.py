"""How the help of both programs ends."""

from __future__ import annotations


def as_epilog(examples: str) -> str:
    """Keep the lines of examples as they are in a command's help (click's mark for that is a backspace)."""
    lines = [line.strip() for line in examples.strip().splitlines()]
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
