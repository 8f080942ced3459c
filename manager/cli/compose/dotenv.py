"""Files of variables: a service's `env_file`, read as Docker does, and the project's `.env`, read as Compose does."""

from __future__ import annotations

import re
from collections.abc import Mapping

from manager.cli.compose.errors import ComposeError, Position, Problem
from manager.cli.compose.interpolate import Variables, substitute_known

_SPACE = re.compile(r"\s")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}


def decode(file: str, content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark. Raises `ComposeError`."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ComposeError([Problem("is not UTF-8 text", (), Position(file, line, 1))]) from None


def parse_env_file(file: str, text: str, env: Mapping[str, str]) -> dict[str, str]:
    """Read an `env_file`: NAME=VALUE lines, values as they stand, quotes included.

    A name without `=` takes its value from `env`, and is left out when it has none there. Raises `ComposeError`.
    """
    variables: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name or _SPACE.search(name):
            raise _bad_line(file, number, f"expected NAME=VALUE, got {raw.strip()!r}")
        if equals:
            variables[name] = value
        elif name in env:
            variables[name] = env[name]
    return variables


def parse_dotenv(file: str, text: str, env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read a `.env`: NAME=VALUE lines, an `export` before the name, quotes around the value, `#` comments.

    A quoted value may go on over several lines. In double quotes a backslash escapes what follows, with the usual
    letters n, r and t; single quotes take all as it stands. Elsewhere variables are filled in, from `env` or from the
    lines before. A name without `=` takes its value from `env`, if it has one there. Raises `ComposeError`.

    Returns:
        The variables, and the names of those that a value refers to and that are not set.

    """
    variables: dict[str, str] = {}
    unset: dict[str, None] = {}
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), 1)
    for number, raw in lines:
        line = raw.lstrip().removeprefix("export ").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not _NAME.fullmatch(name := name.rstrip()):
            raise _bad_line(file, number, f"expected NAME=VALUE, got {raw.strip()!r}")
        if equals:
            known = Variables({**variables, **env})
            value = value.lstrip()
            while value.startswith(("'", '"')) and _closing_quote(value) is None:
                if (following := next(lines, None)) is None:
                    raise _bad_line(file, number, f"the value's {value[0]} is not closed")
                value += f"\n{following[1]}"
            variables[name] = _value(file, number, value.rstrip(), known)
            unset.update(known.unset)
        elif name in env:
            variables[name] = env[name]
    return variables, tuple(unset)


def _value(file: str, number: int, value: str, variables: Variables) -> str:
    if value.startswith("'"):
        return _unquote(file, number, value)
    text = _unquote(file, number, value) if value.startswith('"') else _without_comment(value)
    return substitute_known(text, variables)


def _without_comment(value: str) -> str:
    return re.split(r"(?:^|\s+)#", value, maxsplit=1)[0]


def _closing_quote(value: str) -> int | None:
    """Return where the quote that a value begins with is closed; a backslash guards the next character in `"`."""
    pattern = r"'[^']*(')" if value[0] == "'" else r'"(?:[^"\\]|\\.)*(")'
    found = re.match(pattern, value, re.DOTALL)
    return found.start(1) if found else None


def _unquote(file: str, number: int, value: str) -> str:
    """Read a quoted value. An escaped dollar comes out as two, which variables are not looked for in."""
    end = _closing_quote(value)
    assert end is not None, "lines were joined until it is closed"
    rest = value[end + 1 :].strip()
    if rest and not rest.startswith("#"):
        raise _bad_line(file, number, f"text follows the closing {value[0]} of the value")
    if value[0] == "'":
        return value[1:end]
    return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), value[1:end], flags=re.DOTALL)


def _bad_line(file: str, number: int, message: str) -> ComposeError:
    return ComposeError([Problem(message, (), Position(file, number, 1))])
