"""Variables in compose files.

`$NAME`, `${NAME}`, `${NAME:-x}`, `${NAME-x}`, `${NAME:?err}`, `${NAME?err}`, `${NAME:+x}`, `${NAME+x}`, and `$$` for a
dollar. With the colon an empty variable counts as unset. Keys are left alone.

What stands after the operator is text, as in Docker: `${HASH:-$apr1$x$y}` gives `$apr1$x$y`. Only a variable in braces
is filled in there, which Docker's own syntax cannot hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from manager.cli.compose.errors import ComposeError, KeyPath, Problem
from manager.cli.compose.scalars import Substituted
from manager.cli.compose.yaml_loader import Document

UNSET = "the variable {} is not set and counts as empty"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_MAX_NESTING = 20


class InterpolationError(ValueError):
    """A string's variables cannot be filled in; the message says which and why."""


class Variables:
    """Variables by name, which remember the names that had no value: each was taken for empty."""

    __slots__ = ("_values", "unset")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.unset: dict[str, None] = {}

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def value(self, name: str) -> str:
        """Return a variable's value, empty where it has none."""
        if name not in self._values:
            self.unset[name] = None
        return self._values.get(name, "")


def interpolate(document: Document, env: Mapping[str, str]) -> tuple[Document, dict[str, KeyPath]]:
    """Fill in the variables of every string value. Raises `ComposeError` with each bad string's place.

    Returns:
        The document, and where the variables stand that are not set: by name, the first place of each.

    """
    walk = _Walk(document, env)
    tree = walk.filled(document.tree, ())
    if walk.problems:
        raise ComposeError(walk.problems)
    return Document(document.file, tree, document.positions), walk.unset


def unset_warnings(document: Document, places: Mapping[str, KeyPath]) -> dict[str, str]:
    """Say of each variable that is not set where it stands first."""
    return {name: str(Problem(UNSET.format(name), path, document.positions.get(path))) for name, path in places.items()}


class _Walk:
    """One pass over a document: what is wrong, and what is not set."""

    def __init__(self, document: Document, env: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.unset: dict[str, KeyPath] = {}
        self._document = document
        self._env = env

    def filled(self, value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: self.filled(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "$" not in value:
            return value
        variables = Variables(self._env)
        try:
            return Substituted(substitute(value, variables))
        except InterpolationError as error:
            self.problems.append(Problem(str(error), path, self._document.positions.get(path)))
            return value
        finally:
            self.unset = {**dict.fromkeys(variables.unset, path), **self.unset}


def substitute(text: str, variables: Variables) -> str:
    """Fill in the variables of one string. Raises `InterpolationError`."""
    return _each_dollar(text, lambda at: _variable(text, at, variables))


def substitute_known(text: str, variables: Variables) -> str:
    """Fill in the variables of one string; a dollar that begins none stays, as `docker compose` reads a `.env`."""

    def variable(at: int) -> tuple[str, int]:
        try:
            return _variable(text, at, variables)
        except InterpolationError:
            return "$", at

    return _each_dollar(text, variable)


def _substitute_braced(text: str, variables: Variables) -> str:
    """Fill in what is in braces alone."""
    return _each_dollar(
        text, lambda at: _variable(text, at, variables) if text.startswith("{", at) else _literal(text, at)
    )


def _literal(text: str, at: int) -> tuple[str, int]:
    """Return the dollar before `at`, or both of two: the second begins no variable."""
    return ("$$", at + 1) if text.startswith("$", at) else ("$", at)


def _each_dollar(text: str, replaced: Callable[[int], tuple[str, int]]) -> str:
    """Replace each `$`; `replaced` is given the place after it, and returns the new text and where the old goes on."""
    out: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        value, at = replaced(dollar + 1)
        out.append(value)
    out.append(text[at:])
    return "".join(out)


def escape(text: str) -> str:
    """Write a string so that `substitute` gives it back."""
    return text.replace("$", "$$")


def _variable(text: str, at: int, variables: Variables) -> tuple[str, int]:
    """Read what follows a `$`; return its value and where the text goes on."""
    if text.startswith("$", at):
        return "$", at + 1
    if match := _NAME.match(text, at):
        return variables.value(match[0]), match.end()
    if not text.startswith("{", at):
        raise InterpolationError(f"a lone $ in {text!r}: write $$ for a dollar, ${{NAME}} for a variable")
    end = _closing_brace(text, at)
    return _substitute_variable(text[at + 1 : end], variables), end + 1


def _closing_brace(text: str, opening: int) -> int:
    """Find the brace that closes the one at `opening`, past nested `${…}` and `$$`."""
    depth, at = 0, opening
    while at < len(text):
        if text.startswith("$$", at):
            at += 2
            continue
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif text[at] == "{" and at == opening:
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        if depth > _MAX_NESTING:
            raise InterpolationError(f"variables nested more than {_MAX_NESTING} deep in {text[:40]!r}…")
        at += 1
    raise InterpolationError(f"`${{` without its `}}` in {text!r}; write $$ for a dollar")


def _substitute_variable(inner: str, variables: Variables) -> str:
    name = _NAME.match(inner)
    operator = _OPERATOR.match(inner, name.end()) if name else None
    if not name or (not operator and name.end() != len(inner)):
        raise InterpolationError(
            f"${{{inner}}} is not a variable: expected ${{NAME}}, ${{NAME:-default}} or ${{NAME:?message}}"
        )
    if not operator:
        return variables.value(name[0])
    word, given = inner[operator.end() :], variables.get(name[0])
    present = bool(given) if operator[0].startswith(":") else given is not None
    match operator[0][-1]:
        case "-":
            return given or "" if present else _substitute_braced(word, variables)
        case "+":
            return _substitute_braced(word, variables) if present else ""
        case _:
            return _require(name[0], given, present, "" if present else _substitute_braced(word, variables))


def _require(name: str, given: str | None, present: bool, message: str) -> str:
    if present:
        return given or ""
    state = "empty" if given is not None else "not set"
    raise InterpolationError(f"the required variable {name} is {state}" + (f": {message}" if message else ""))
