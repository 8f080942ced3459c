"""A row of the tables of docker invocations: the command line, its exit code, and what its output must have.

The tables are `api_table` and `flags_table` (they need no engine: stage `api`), `engine_table` and `document` (they run
on real engines: stage `e2e`).
"""

import re
import shlex
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Ran:
    """A command that ended: exit code and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Step:
    """One invocation of `docker`; `patterns` are looked for in its output, those that begin with `!` must not be there.

    `$NAME` in the line stands for the output of the step that was named so by `NAME=` in front of its line.
    """

    line: str
    patterns: tuple[str, ...] = ()
    stdin: str = ""
    codes: tuple[int, ...] = (0,)


Script: TypeAlias = tuple[Step, ...]
# Runs `docker ARGUMENTS` with a standard input.
Run: TypeAlias = Callable[[list[str], str], Awaitable[Ran]]


def step(line: str, *patterns: str, stdin: str = "", code: int | tuple[int, ...] = 0) -> Step:
    """Make a row; `!` in front of the line is short for exit code 1. With several codes, it is one of them."""
    name, fails, rest = _parts(line)
    codes = (1,) if fails else code if isinstance(code, tuple) else (code,)
    return Step(name + rest, patterns, stdin, codes)


def _parts(line: str) -> tuple[str, bool, str]:
    name = re.match(r"\w+=|", line)
    assert name is not None
    rest = line[name.end() :]
    return name[0], rest.startswith("!"), rest.lstrip("!")


async def play(run: Run, steps: Script, **names: str) -> dict[str, str]:
    """Run a script's steps one after the other; the first that does not do as its row says fails the test.

    `names` are what `$NAME` stands for at first; returns them with those that the steps gave.
    """
    for each in steps:
        name, _, line = _parts(_filled(each.line, names))
        ran = await run(shlex.split(line), each.stdin)
        assert ran.code in each.codes, f"docker {line}: {ran}"
        check(line, ran, tuple(_filled(pattern, names) for pattern in each.patterns))
        if name:
            names[name[:-1]] = ran.out.strip()
    return names


def _filled(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\$([a-z]\w*)", lambda match: names[match[1]], text)


def check(line: str, ran: Ran, patterns: tuple[str, ...]) -> None:
    text = ran.out + ran.err
    for pattern in patterns:
        found = re.search(pattern.removeprefix("!"), text, re.MULTILINE)
        assert (found is None) == pattern.startswith("!"), f"docker {line}: {pattern!r} in:\n{text}"


def flags_in(steps: Script) -> Iterator[str]:
    """Yield the long and short flags that the steps' lines use."""
    for each in steps:
        for word in shlex.split(each.line):
            if word.startswith("-"):
                yield word.partition("=")[0]
