"""Rules for values that hold scalars: lists, mappings of strings, command lines."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from manager.cli.commandline import split_command
from manager.cli.compose.rules import Cursor, Rule, Text
from manager.cli.compose.scalars import text_of

_TEXT = Text()


@dataclass(frozen=True, slots=True)
class Items(Rule):
    """A list. `single`: a bare string is a list of one. `unique`: no repetitions. `numbers`: numbers are texts too."""

    item: Rule = _TEXT
    unique: bool = True
    single: bool = False
    numbers: bool = False
    expected: str = "a list"

    def read(self, value: Any, at: Cursor) -> Any:
        if self.single and isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            return at.expect("a string or a list of strings" if self.single else self.expected, value)
        refuse_repetitions(value, at, self.unique)
        return [self._item(item, at / index) for index, item in enumerate(value)]

    def _item(self, item: Any, at: Cursor) -> Any:
        if self.numbers and isinstance(item, int | float) and not isinstance(item, bool):
            return text_of(item)
        return self.item.read(item, at)

    def merge(self, base: Any, override: Any) -> Any:
        """Append; what may stand only once stays where it stood first."""
        joined = [*base, *override]
        if not self.unique:
            return joined
        first: dict[Hashable, Any] = {}
        for item in joined:
            first.setdefault(_hashable(item), item)
        return list(first.values())


def refuse_repetitions(values: list[Any], at: Cursor, unique: bool = True) -> None:
    """Report a value that the list holds twice."""
    seen: dict[Hashable, int] = {}
    for index, value in enumerate(values if unique else ()):
        if (first := seen.setdefault(_hashable(value), index)) != index:
            (at / index).fail(f"given twice in the list; first as item {first}")
            return


def _hashable(value: Any) -> Hashable:
    """Return what is equal for equal values, so that long lists need not be compared item by item; `True` is not 1."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return isinstance(value, bool), value


@dataclass(frozen=True, slots=True)
class Command(Rule):
    """A command line: a list of arguments, or a string that is split as a shell would. An override replaces it."""

    expected: str = "a string or a list of strings"

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, str):
            try:
                return split_command(value)
            except ValueError as error:
                return at.fail(f"is not a command line: {error}")
        return Items(unique=False).read(value, at) if isinstance(value, list) else at.expect(self.expected, value)


@dataclass(frozen=True, slots=True)
class HealthTest(Rule):
    """The test of a health check: a string is run by a shell, a list begins with CMD, CMD-SHELL or NONE."""

    expected: str = "a string or a list of strings"

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, str):
            return ["CMD-SHELL", str(value)]
        return Items(unique=False).read(value, at) if isinstance(value, list) else at.expect(self.expected, value)


@dataclass(frozen=True, slots=True)
class Pairs(Rule):
    """`NAME: value` or `- NAME=value`, to a mapping of strings. `unset` keeps a name without a value as None."""

    unset: bool = False
    expected: str = "a mapping, or a list of NAME=value"

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, dict):
            return by_name({key: self._value(item, at / key) for key, item in value.items()})
        if not isinstance(value, list):
            return at.expect(self.expected, value)
        refuse_repetitions(value, at)
        texts = [Text().read(item, at / index) for index, item in enumerate(value)]
        return by_name(dict(self._split(text) for text in texts if text is not None))

    def _value(self, item: Any, at: Cursor) -> str | None:
        if item is None:
            return None if self.unset else ""
        if isinstance(item, bool | dict | list):
            quoted = " (put it in quotes)" if isinstance(item, bool) else ""
            at.expect(f"a string, a number or nothing{quoted}", item)
            return None
        return text_of(item)

    def _split(self, text: str) -> tuple[str, str | None]:
        name, equals, value = text.partition("=")
        return name, value if equals or not self.unset else None

    def merge(self, base: Any, override: Any) -> Any:
        """Add and replace. A variable that the override leaves unset or empty keeps its value, as in Docker."""
        wins = {k: v for k, v in override.items() if not self.unset or v or k not in base}
        return by_name({**base, **wins})


@dataclass(frozen=True, slots=True)
class HostPairs(Rule):
    """`extra_hosts`: `host: address`, `- host:address` or `- host=address`, to a list of `host:address`."""

    expected: str = "a mapping of host: address, or a list of host:address"

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, dict):
            pairs = Pairs().read({k: v for k, v in value.items() if v is not None}, at)
            # One that is wrong has been told, and is None.
            return sorted(
                f"{host}:{_without_brackets(address)}" for host, address in pairs.items() if address is not None
            )
        if not isinstance(value, list):
            return at.expect(self.expected, value)
        return [_host_pair(entry) for entry in Items().read(value, at) if entry is not None]

    def merge(self, base: Any, override: Any) -> Any:
        return Items().merge(base, override)


def _host_pair(entry: str) -> str:
    """Write an entry with a colon; one that names no address stays as it is."""
    host, separator, address = entry.partition("=" if "=" in entry else ":")
    return f"{host}:{_without_brackets(address)}" if separator else entry


def _without_brackets(address: str) -> str:
    return address[1:-1] if len(address) > 2 and address.startswith("[") and address.endswith("]") else address


@dataclass(frozen=True, slots=True)
class Options(Rule):
    """A mapping of driver options: names to strings or numbers, kept as strings."""

    unset: bool = False
    expected: str = "a mapping of options"

    def read(self, value: Any, at: Cursor) -> Any:
        if not isinstance(value, dict):
            return at.expect(self.expected, value)
        return by_name({key: self._value(item, at / key) for key, item in value.items()})

    def _value(self, item: Any, at: Cursor) -> Any:
        if isinstance(item, bool | dict | list) or (item is None and not self.unset):
            return at.expect("a string or a number", item)
        return text_of(item)

    def merge(self, base: Any, override: Any) -> Any:
        return by_name({**base, **override})


def by_name(mapping: dict[str, Any]) -> dict[str, Any]:
    """Sort a mapping by its keys."""
    return dict(sorted(mapping.items()))
