"""Rules for objects with known keys, for what may be written in several forms, and for how those merge."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from manager.cli.compose.rules import Anything, Cursor, Rule
from manager.cli.compose.shapes import by_name

RESOURCE_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTENSION = "x-"
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an object. `since` is the minor version that brought it; `keep` writes its zero value too."""

    rule: Rule
    since: int = 0
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Object(Rule):
    """A mapping with known keys, in the order in which they are written.

    `extensible` is the minor version from which `x-` keys are allowed. `lenient` lets unknown keys pass, where Docker's
    schema is silent about them. `empty` lets nothing stand for no keys at all. `forbidden` gives advice for keys
    that are refused on purpose. `whole` makes an override replace the object.
    """

    keys: Mapping[str, Key]
    extensible: int | None = None
    lenient: bool = False
    empty: bool = False
    required: tuple[str, ...] = ()
    forbidden: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    expected: str = "a mapping"

    def read(self, value: Any, at: Cursor) -> Any:
        if value is None and self.empty:
            return {}
        if not isinstance(value, dict):
            return at.expect(self.expected, value)
        for name in self.required:
            if value.get(name, "") == "":
                at.fail(f'the key "{name}" is {"empty" if name in value else "missing"}')
        tree = {name: self._read_key(name, item, at / name) for name, item in value.items()}
        return self.ordered({name: item for name, item in tree.items() if self._kept(name, item)})

    def _read_key(self, name: str, value: Any, at: Cursor) -> Any:
        key = self.keys.get(name)
        if key is None:
            if self.extensible is not None and name.startswith(_EXTENSION):
                at.need(self.extensible)
                return Anything().read(value, at)
            return None if self.lenient else at.fail(self._unknown(name))
        at.need(key.since)
        return key.rule.read(value, at)

    def _unknown(self, name: str) -> str:
        if name in self.forbidden:
            return f"not supported in a stack: {self.forbidden[name]}"
        near = difflib.get_close_matches(name, self.keys, n=1, cutoff=0.6)
        if near or len(self.keys) > _MOST_LISTED:
            return "unknown key" + (
                f'; did you mean "{near[0]}"?' if near else "; the keys are those of docs/compose.md"
            )
        return f"unknown key; expected one of {', '.join(sorted(self.keys))}"

    def _kept(self, name: str, value: Any) -> bool:
        key = self.keys.get(name)
        if key is None:
            return name.startswith(_EXTENSION)
        return value is not None and (key.keep or not key.rule.is_zero(value))

    def ordered(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Put the keys in the order of the schema, extensions last."""
        return {name: tree[name] for name in (*self.keys, *sorted(tree.keys() - self.keys.keys())) if name in tree}

    def merge(self, base: Any, override: Any) -> Any:
        if self.whole:
            return override
        return self.ordered({**base, **{name: self._merge_key(name, base, override) for name in override}})

    def _merge_key(self, name: str, base: Any, override: Any) -> Any:
        key = self.keys.get(name)
        if name not in base or key is None:
            return override[name]
        return key.rule.merge(base[name], override[name])


@dataclass(frozen=True, slots=True)
class Named(Rule):
    """A mapping from names of the user's choice to one kind of thing, sorted by name. `nullable` keeps a None."""

    item: Rule
    pattern: re.Pattern[str] = RESOURCE_NAME
    names: str = "letters, digits, '.', '_' and '-'"
    nullable: bool = False
    lenient: bool = False
    expected: str = "a mapping"

    def read(self, value: Any, at: Cursor) -> Any:
        if not isinstance(value, dict):
            return at.expect(self.expected, value)
        return by_name({name: self._entry(name, item, at / name) for name, item in value.items()})

    def _entry(self, name: str, item: Any, at: Cursor) -> Any:
        if not self.pattern.fullmatch(name) and not self.lenient:
            return at.fail(f"a name here may hold only {self.names}")
        return None if item is None and self.nullable else self.item.read(item, at)

    def merge(self, base: Any, override: Any) -> Any:
        return by_name({**base, **{name: self._merge_entry(name, base, override) for name in override}})

    def _merge_entry(self, name: str, base: Any, override: Any) -> Any:
        if base.get(name) is None or override[name] is None:
            return base.get(name) if override[name] is None else override[name]
        return self.item.merge(base[name], override[name])


@dataclass(frozen=True, slots=True)
class Keyed(Rule):
    """A list whose items have an identity: in an override, an item replaces the one with the same identity.

    After a merge the list is sorted by `order`, as Docker does.
    """

    items: Rule
    identity: Callable[[Any], Any]
    order: Callable[[Any], Any]

    def read(self, value: Any, at: Cursor) -> Any:
        return self.items.read(value, at)

    def merge(self, base: Any, override: Any) -> Any:
        by_identity = {self.identity(item): item for item in [*base, *override]}
        return sorted(by_identity.values(), key=self.order)


@dataclass(frozen=True, slots=True)
class Forms(Rule):
    """A value that may be written as a scalar, a list or a mapping, each with its own rule where it is allowed."""

    expected: str
    scalar: Rule | None = None
    items: Rule | None = None
    mapping: Rule | None = None

    def _rule(self, value: Any) -> Rule | None:
        return self.mapping if isinstance(value, dict) else self.items if isinstance(value, list) else self.scalar

    def read(self, value: Any, at: Cursor) -> Any:
        rule = None if value is None else self._rule(value)
        return at.expect(self.expected, value) if rule is None else rule.read(value, at)

    def merge(self, base: Any, override: Any) -> Any:
        rule = self._rule(override)
        return override if rule is None or type(base) is not type(override) else rule.merge(base, override)


@dataclass(frozen=True, slots=True)
class Short(Rule):
    """A short form: what `rule` reads, expanded to the long form."""

    rule: Rule
    expand: Callable[[Any], Any]
    expected: str = ""

    def read(self, value: Any, at: Cursor) -> Any:
        short = self.rule.read(value, at)
        return None if short is None else self.expand(short)


class Logging(Object):
    """A log driver: an override that names another driver replaces the options too."""

    def merge(self, base: Any, override: Any) -> Any:
        drivers = {tree["driver"] for tree in (base, override) if "driver" in tree}
        return override if len(drivers) > 1 else super().merge(base, override)


class Dependencies(Forms):
    """Services, as a list or a mapping: of one list and one mapping both count."""

    def merge(self, base: Any, override: Any) -> Any:
        if type(base) is not type(override):
            base, override = (
                {name: {} for name in each} if isinstance(each, list) else each for each in (base, override)
            )
        return super().merge(base, override)


class Attachment(Object):
    """How a service joins a network: an override's aliases replace all earlier ones, addresses only when given."""

    def merge(self, base: Any, override: Any) -> Any:
        return self.ordered({**{name: base[name] for name in base if name != "aliases"}, **override})
