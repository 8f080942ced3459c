"""Files of variables: a service's `env_file`, read as Docker does, and the project's `.env`, read as Compose does."""

from __future__ import annotations

import re
from collections.abc import Mapping

from manager.compose.errors import ComposeError, Position, Problem

_SPACE = re.compile(r"\s")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def decode(file: str, content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark. Raises `ComposeError`."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ComposeError([Problem("is no UTF-8 text", (), Position(file, line, 1))]) from None


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
        if not name or _SPACE.search(name.rstrip() if equals else name):
            raise _bad_line(file, number, f"expected NAME=VALUE, got {raw.strip()!r}")
        if equals:
            variables[name] = value
        elif name in env:
            variables[name] = env[name]
    return variables


def parse_dotenv(file: str, text: str) -> dict[str, str]:
    """Read a `.env`: NAME=VALUE lines, an `export` before the name, quotes around the value, `#` comments.

    In double quotes a backslash escapes what follows, with the usual letters n, r and t; single quotes take all as it
    stands. Raises `ComposeError`.
    """
    variables: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip().removeprefix("export ").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not _NAME.fullmatch(name := name.rstrip()):
            raise _bad_line(file, number, f"expected NAME=VALUE, got {raw.strip()!r}")
        if equals:
            variables[name] = _unquote(file, number, value.strip())
    return variables


def _unquote(file: str, number: int, value: str) -> str:
    if value[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s+)#", value, maxsplit=1)[0]
    quote, out, at = value[0], [], 1
    while at < len(value) and value[at] != quote:
        if quote == '"' and value[at] == "\\" and at + 1 < len(value):
            at += 1
            out.append(_ESCAPES.get(value[at], value[at]))
        else:
            out.append(value[at])
        at += 1
    rest = value[at + 1 :].strip()
    if at >= len(value) or (rest and not rest.startswith("#")):
        raise _bad_line(file, number, f"the value's {quote} is not closed, or text follows it")
    return "".join(out)


def _bad_line(file: str, number: int, message: str) -> ComposeError:
    return ComposeError([Problem(message, (), Position(file, number, 1))])
