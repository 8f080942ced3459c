"""Cut a template into text and the tokens of its actions."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from common.errors import InvalidArgument

_NAME = r"[A-Za-z_]\w*"
_PATH = rf"(?:\.{_NAME})"
# A path belongs to what stands directly before it (`$x.Name`, `(index . 0).Name`), so spaces need no tokens.
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    |(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
    |(?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))
    |(?P<variable>\$\w*{_PATH}*)
    |(?P<field>{_PATH}+)
    |(?P<dot>\.)
    |(?P<word>{_NAME})
    |(?P<close>\){_PATH}*)
    |(?P<sign>:=|=|\||\(|,)""",
    re.VERBOSE,
)
_END = re.compile(r"\s-\}\}|\}\}")
_COMMENT = re.compile(r"\{\{(?:-\s)?/\*.*?\*/(?:\s-)?\}\}", re.DOTALL)


class TemplateError(InvalidArgument):
    """A template that cannot be parsed or carried out; the message says where in it."""


class TemplateCallError(TemplateError):
    """A function refused its arguments: with other data it may take them."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is `text`, `end` (of an action) or a group of the token pattern; `line` counts from 1."""

    kind: str
    text: str
    line: int


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens; each action's are followed by an `end`.

    Raises:
        TemplateError: an action is not closed, or holds a character that no token starts with.

    """
    position, trim = 0, False
    while (start := source.find("{{", position)) >= 0:
        trim_before = source.startswith("{{-", start) and source[start + 3 : start + 4].isspace()
        yield _text(source, position, start, trim, trim_before)
        if comment := _COMMENT.match(source, start):
            position, trim = comment.end(), comment.group().endswith(" -}}")
            continue
        position, trim = yield from _action(source, start, start + (3 if trim_before else 2))
    yield _text(source, position, len(source), trim, False)


def _text(source: str, start: int, end: int, trim_left: bool, trim_right: bool) -> Token:
    text = source[start:end]
    text = text.lstrip() if trim_left else text
    return Token("text", text.rstrip() if trim_right else text, _line(source, start))


def _action(source: str, start: int, position: int) -> Generator[Token, None, tuple[int, bool]]:
    """Yield an action's tokens; return where the text after it starts, and whether its left space is trimmed."""
    line = _line(source, start)
    while True:
        if end := _END.match(source, position):
            yield Token("end", "", line)
            return end.end(), end.group() != "}}"
        found = _TOKEN.match(source, position)
        if found is None:
            raise TemplateError(_complaint(source, position, line))
        position = found.end()
        if found.lastgroup != "space":
            yield Token(found.lastgroup or "", found.group(), line)


def _complaint(source: str, position: int, line: int) -> str:
    if position >= len(source):
        return f"template: line {line}: an action is not closed with }}}}"
    return f"template: line {line}: unexpected {source[position]!r} in an action"


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1
