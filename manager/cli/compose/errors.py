"""What is wrong with a compose file, and exactly where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from common.errors import InvalidArgument

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `path` is the key path, empty when the text is not YAML at all."""

    message: str
    path: KeyPath = ()
    position: Position | None = None

    def __str__(self) -> str:
        parts = [str(self.position) if self.position else "", format_path(self.path), self.message]
        return ": ".join(part for part in parts if part)


_MOST_PROBLEMS = 100


class ComposeError(InvalidArgument):
    """The files cannot be deployed; the message has one line a problem, of very many for the first hundred."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:_MOST_PROBLEMS])
        lines = [str(problem) for problem in self.problems]
        if more := len(problems) - len(lines):
            lines.append(f"and {more} more problems")
        super().__init__("\n".join(lines))


def format_path(path: KeyPath) -> str:
    """Write a key path as people do: `services.web.ports[0].target`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
