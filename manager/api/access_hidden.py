"""What in an answer is a secret's likely place, and how it reads to those who are not shown it. Pure.

Environment variables are what people know to carry passwords; they are also in what an image was made by, beside the
arguments of its build. Options of drivers carry them as well: a volume's `o=username=…,password=…`, a log driver's
token. Names are shown, values never.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

HIDDEN = "<hidden>"
# Fields that have an instruction of a Dockerfile, or the words of a command that may be one.
_INSTRUCTIONS = frozenset({"CreatedBy", "Command"})
_COMMANDS = frozenset({"Cmd", "Args", "Entrypoint", "OnBuild"})
# `ENV A=b`, `ARG A=b`, as builders write them into an image's history, the classic one behind `/bin/sh -c #(nop)`.
_SETTING = re.compile(r"^(?P<before>(?:.*#\(nop\)\s*)?(?:ENV|ARG)\s+[^\s=]+)[\s=].*$", re.DOTALL)
# `RUN |2 A=b C=d /bin/sh -c …`: a command with that many arguments of the build before it, which nothing ends.
_WITH_ARGUMENTS = re.compile(r"^(?P<before>(?:.*\s)?\|[1-9]\d* [^\s=]+)=.*$", re.DOTALL)
_COUNT = re.compile(r"\|([1-9]\d{0,3})")


def hide(value: Any) -> Any:
    """Return decoded JSON in which `NAME=<hidden>` stands for what may be a secret, however deep it is."""
    if isinstance(value, dict):
        return {key: _field(key, inner, value) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hide(each) for each in value]
    if isinstance(value, msgspec.Raw):  # rendered before, and kept
        return hide(msgspec.json.decode(value))
    return hide(msgspec.to_builtins(value)) if isinstance(value, msgspec.Struct) else value


def _field(key: str, inner: Any, beside: Mapping[str, Any]) -> Any:
    if isinstance(inner, list | tuple):
        if key == "Env":
            return [_variable(str(each)) for each in inner]
        if key in _COMMANDS:
            return _command(inner)
    elif isinstance(inner, dict):
        if key == "LogConfig":
            return {name: _options(each) if name == "Config" else hide(each) for name, each in inner.items()}
        if key == "DriverOpts" or (key == "Options" and "IPAM" not in beside):  # a network's are no secret
            return _options(inner)
    elif key in _INSTRUCTIONS and isinstance(inner, str):
        return instruction(inner)
    return hide(inner)


def _options(options: Any) -> Any:
    return dict.fromkeys(options, HIDDEN) if isinstance(options, dict) else hide(options)


def _variable(entry: str) -> str:
    name, equals, _ = entry.partition("=")
    return f"{name}={HIDDEN}" if equals else name


def instruction(text: str) -> str:
    """Return an instruction of a Dockerfile without the values that it sets.

    Nothing tells where one value ends and the next begins: of several, the first name alone is left.
    """
    for form in (_SETTING, _WITH_ARGUMENTS):
        found = form.match(text)
        if found is not None:
            return f"{found['before']}={HIDDEN}"
    return text


def _command(words: Iterable[Any]) -> list[Any]:
    """Return a command's words; those are hidden that a builder has put before it, or that are an instruction's."""
    shown: list[Any] = []
    arguments = 0
    for word in words:
        if not isinstance(word, str):
            shown.append(hide(word))
            continue
        shown.append(_variable(word) if arguments else instruction(word))
        count = _COUNT.fullmatch(word)
        arguments = int(count[1]) if count is not None and not arguments else max(0, arguments - 1)
    return shown
