"""The vocabulary that the schema is written in: what a value may be, what it becomes, and how two files' values merge.

A rule does three things with the value of one key. `read` checks it and returns its normalised form, reporting what is
wrong at a `Cursor`. `merge` combines the normalised values of two files as `docker stack deploy -c a -c b` does. And
`is_zero` says which values are as good as absent: they are left out of the normalised tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from common.text.quantities import format_duration, parse_cpus, parse_duration, parse_size
from manager.cli.compose.config import locate
from manager.cli.compose.errors import KeyPath, Problem
from manager.cli.compose.scalars import BareWord, Substituted, boolean, plain, text_of
from manager.cli.compose.yaml_loader import Document

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


@dataclass(slots=True)
class Report:
    """What reading one document found: collected here, raised together."""

    document: Document
    minor: int
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where in the document a rule reads."""

    report: Report
    path: KeyPath = ()

    def __truediv__(self, key: str | int) -> Cursor:
        return Cursor(self.report, (*self.path, key))

    def fail(self, message: str) -> None:
        where = locate(self.report.document.positions, self.path)
        self.report.problems.append(Problem(message, self.path, where))

    def expect(self, expected: str, value: Any) -> None:
        """Report that something else stands here than what is expected."""
        self.fail(f"expected {expected}, got {describe_value(value)}")

    def need(self, minor: int) -> None:
        """Report a key that came with a later version than the file declares."""
        if minor > self.report.minor:
            self.fail(f"needs version 3.{minor} or later; this file says 3.{self.report.minor}")


class Rule:
    """Base of all rules: `expected` completes the sentence "expected …"."""

    __slots__ = ()
    expected: str

    def read(self, value: Any, at: Cursor) -> Any:
        """Check and normalise; report at the cursor and return None when the value is wrong."""
        raise NotImplementedError

    def merge(self, base: Any, override: Any) -> Any:
        """Combine two normalised values, neither of them absent."""
        return base if self.is_zero(override) else override

    def is_zero(self, value: Any) -> bool:
        return value is None or value in ("", 0, False, [], {}, "0s")


def describe_value(value: Any) -> str:
    """Name a value and its type, as people do."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {text_of(value)}"
        case int() | float():
            return f"the number {text_of(value)}"
        case str():
            return f'the string "{value if len(value) <= 60 else value[:57] + "…"}"'
        case list():
            return "a list"
        case _:
            return "a mapping"


@dataclass(frozen=True, slots=True)
class Text(Rule):
    """A string; a word such as an unquoted `no` is one."""

    choices: tuple[str, ...] = ()
    expected: str = "a string"

    def read(self, value: Any, at: Cursor) -> Any:
        if not isinstance(value, str):
            quoted = not isinstance(value, dict | list | None)
            return at.expect(self.expected + (" (put it in quotes)" if quoted else ""), value)
        if self.choices and value not in self.choices:
            return at.expect(_either(self.choices), value)
        return str(value)


def _either(choices: tuple[str, ...]) -> str:
    *others, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(others)} or {last}" if others else last


@dataclass(frozen=True, slots=True)
class Checked(Rule):
    """A string in a format: `convert` normalises it or raises ValueError."""

    expected: str
    convert: Callable[[str], str]

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, str):
            try:
                return self.convert(value)
            except ValueError:
                pass  # worded below, with the value
        return at.expect(self.expected, value)


def _duration(text: str) -> str:
    return format_duration(parse_duration(text))


def _size(text: str) -> str:
    return "" if (size := parse_size(text)) == 0 else str(size)


def _cpus(text: str) -> str:
    parse_cpus(text)
    return text


class _Cpus(Checked):
    """As `Checked`; a number without quotes, too, as `docker compose config` writes it."""

    __slots__ = ()

    def read(self, value: Any, at: Cursor) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return super().read(str(value) if number else value, at)


CPUS = _Cpus('a number of CPUs, such as "0.5"', _cpus)
DURATION = Checked('a duration such as "90s", "1m30s" or "500ms"', _duration)
SIZE = Checked('a size such as "50M", "1gb" or "512k"', _size)


_IN_QUOTES = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Number(Rule):
    """A number; `whole` allows integers only. In quotes, as `docker compose config` writes it, it has no leading zero.

    With one it may be meant as octal, and is taken only as Docker takes it: without quotes, or from a variable.
    """

    whole: bool = True
    lowest: int | None = None
    highest: int = _MAX_INT
    zero_wins: bool = False

    @property
    def expected(self) -> str:  # type: ignore[override]
        kind = "a whole number" if self.whole else "a number"
        if self.lowest is None:
            return kind
        if self.highest == _MAX_INT:
            return f"{kind}, {self.lowest} or more"
        return f"{kind} from {self.lowest} to {self.highest}"

    def read(self, value: Any, at: Cursor) -> Any:
        digits = isinstance(value, Substituted) or (isinstance(value, str) and _IN_QUOTES.fullmatch(value))
        number = _decimal_of(value) if digits else value
        if isinstance(number, bool) or not isinstance(number, int | float):
            hint = (
                " (without quotes)"
                if isinstance(plain(value) if value and isinstance(value, str) else "", int | float)
                else ""
            )
            return at.expect(self.expected + hint, value)
        if self.whole and number != int(number):
            return at.expect(self.expected, value)
        if not (_MIN_INT if self.lowest is None else self.lowest) <= number <= self.highest:
            return at.expect(self.expected, value)
        return int(number) if self.whole else float(number)

    def merge(self, base: Any, override: Any) -> Any:
        return override if override or self.zero_wins else base


def _decimal_of(text: str) -> int | float | str:
    """Read what a variable gave as a decimal number: `0440` is 440, as in Docker."""
    try:
        return int(text)
    except ValueError:
        value = plain(text) if text else ""
        return value if isinstance(value, float) and math.isfinite(value) else text


@dataclass(frozen=True, slots=True)
class Boolean(Rule):
    expected: str = "true or false"

    def read(self, value: Any, at: Cursor) -> Any:
        word = boolean(value) if isinstance(value, BareWord | Substituted) else value
        return word if isinstance(word, bool) else at.expect(self.expected, value)


class Anything(Rule):
    """Extension fields: kept as they are, read by nobody here."""

    def read(self, value: Any, _at: Cursor) -> Any:
        return plain_tree(value)

    def merge(self, _base: Any, override: Any) -> Any:
        return override


def plain_tree(value: Any) -> Any:
    """Strip the marks that reading put on strings, and sort keys, as the rest is sorted."""
    if isinstance(value, dict):
        return {key: plain_tree(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [plain_tree(item) for item in value]
    return str(value) if isinstance(value, str) else value
