"""Variables in compose files.

`$NAME`, `${NAME}`, `${NAME:-x}`, `${NAME-x}`, `${NAME:?err}`, `${NAME?err}`, `${NAME:+x}`, `${NAME+x}`, and `$$` for a
dollar. With the colon an empty variable counts as unset. What stands after the operator may hold variables itself. Keys
are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from manager.compose.errors import ComposeError, KeyPath, Problem
from manager.compose.scalars import Substituted
from manager.compose.yaml_loader import Document

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_MAX_NESTING = 20


class InterpolationError(ValueError):
    """A string's variables cannot be filled in; the message says which and why."""


def interpolate(document: Document, env: Mapping[str, str]) -> Document:
    """Fill in the variables of every string value. Raises `ComposeError` with each bad string's place."""
    problems: list[Problem] = []
    tree = _walk(document.tree, (), env, document, problems)
    if problems:
        raise ComposeError(problems)
    return Document(document.file, tree, document.positions)


def _walk(value: Any, path: KeyPath, env: Mapping[str, str], document: Document, problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {key: _walk(item, (*path, key), env, document, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, (*path, index), env, document, problems) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value
    try:
        return Substituted(substitute(value, env))
    except InterpolationError as error:
        problems.append(Problem(str(error), path, document.positions.get(path)))
        return value


def substitute(text: str, env: Mapping[str, str]) -> str:
    """Fill in the variables of one string. Raises `InterpolationError`."""
    out: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        value, at = _variable(text, dollar + 1, env)
        out.append(value)
    out.append(text[at:])
    return "".join(out)


def escape(text: str) -> str:
    """Write a string so that `substitute` gives it back."""
    return text.replace("$", "$$")


def _variable(text: str, at: int, env: Mapping[str, str]) -> tuple[str, int]:
    """Read what follows a `$`; return its value and where the text goes on."""
    if text.startswith("$", at):
        return "$", at + 1
    if match := _NAME.match(text, at):
        return env.get(match[0], ""), match.end()
    if not text.startswith("{", at):
        raise InterpolationError(f"a lone $ in {text!r}: write $$ for a dollar, ${{NAME}} for a variable")
    end = _closing_brace(text, at)
    return _braced(text[at + 1 : end], env), end + 1


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


def _braced(inner: str, env: Mapping[str, str]) -> str:
    name = _NAME.match(inner)
    operator = _OPERATOR.match(inner, name.end()) if name else None
    if not name or (not operator and name.end() != len(inner)):
        raise InterpolationError(
            f"${{{inner}}} is no variable: expected ${{NAME}}, ${{NAME:-default}} or ${{NAME:?message}}"
        )
    if not operator:
        return env.get(name[0], "")
    word, given = inner[operator.end() :], env.get(name[0])
    present = bool(given) if operator[0].startswith(":") else given is not None
    match operator[0][-1]:
        case "-":
            return given or "" if present else substitute(word, env)
        case "+":
            return substitute(word, env) if present else ""
        case _:
            return _required(name[0], given, present, substitute(word, env) if not present else "")


def _required(name: str, given: str | None, present: bool, message: str) -> str:
    if present:
        return given or ""
    state = "empty" if given is not None else "not set"
    raise InterpolationError(f"the required variable {name} is {state}" + (f": {message}" if message else ""))
