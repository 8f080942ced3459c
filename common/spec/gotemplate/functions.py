"""The functions that templates may call, and how Go prints, compares and judges values.

A `Record` is a JSON object that stands for a struct of Go: its fields are all there, whether they are written or not.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

Function: TypeAlias = Callable[..., object]
Comparable: TypeAlias = float | str

# No function makes a longer text, however wide it is told to print. What grows with its arguments alone needs no limit.
LONGEST = 4 * 1024 * 1024
_MOST_DIGITS = 8
_VERB = re.compile(r"%([-+# 0]*(\d*)(?:\.(\d+))?)([a-zA-Z%])")


class Nothing:
    """What is not there: printed as Go prints it, false, and of length 0."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


NO_VALUE = Nothing("<no value>")  # a key that a mapping lacks
NIL = Nothing("<nil>")  # a field of a struct that points to nothing
NIL_LIST = Nothing("[]")
NIL_MAP = Nothing("map[]")


def truth(value: object) -> bool:
    """Judge a value as Go's templates do: zero, empty and nil are false; a struct is true."""
    return True if isinstance(value, msgspec.Struct | Record) else bool(value)


def show(value: object) -> str:  # noqa: PLR0911
    """Print a value as Go's `%v` does."""
    match value:
        case None:
            return NO_VALUE.text
        case Nothing():
            return value.text
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case bytes():
            return value.decode(errors="replace")
        case float():
            return f"{value:.0f}" if value.is_integer() and abs(value) < 1e21 else repr(value)
        case msgspec.Struct():
            return "{" + " ".join(show(getattr(value, name)) for name in value.__struct_fields__) + "}"
        case Mapping():
            return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
        case Sequence():
            return "[" + " ".join(show(item) for item in value) + "]"
    return str(value)


def _json(value: object) -> str:
    plain = None if isinstance(value, Nothing) else msgspec.to_builtins(value)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _join(items: object, separator: str) -> str:
    if items is NIL_LIST:
        return ""
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise TypeError(f"expected a list and a separator, got {show(items)}")
    shown = [show(item) for item in items]
    _bound(sum(map(len, shown)) + len(separator) * len(shown))
    return separator.join(shown)


def _bound(length: int) -> None:
    if length > LONGEST:
        raise ValueError(f"more than {LONGEST} characters")


def _truncate(text: str, length: int) -> str:
    return text[: max(length, 0)]


def _pad(text: str, prefix: int, suffix: int) -> str:
    """Put spaces around a text that is not empty."""
    _bound(max(prefix, 0) + len(text) + max(suffix, 0))
    return " " * prefix + text + " " * suffix if text else text


def _printf(pattern: str, *values: object) -> str:
    rest = deque(values)
    length = len(pattern)

    def verb(found: re.Match[str]) -> str:
        nonlocal length
        flags, width, precision, kind = found.groups()
        if kind == "%":
            return "%"
        if not rest:
            return f"%!{kind}(MISSING)"
        _bound(length + _number(width) + _number(precision))
        printed = _printed(kind, flags, rest.popleft())
        length += len(printed)
        _bound(length)
        return printed

    return _sum((_VERB.sub(verb, pattern), *(f"%!(EXTRA {show(value)})" for value in rest)))


def _printed(kind: str, flags: str, value: object) -> str:
    if kind == "q":
        return json.dumps(show(value), ensure_ascii=False)
    return f"%{flags}s" % show(value) if kind in "vst" else f"%{flags}{kind}" % value


def _number(digits: str | None) -> int:
    return int(digits[:_MOST_DIGITS]) if digits else 0


def _sum(parts: Iterable[str]) -> str:
    """Join what is printed, and stop where it is too much."""
    kept, length = [], 0
    for part in parts:
        length += len(part)
        _bound(length)
        kept.append(part)
    return "".join(kept)


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if value is NIL_MAP:
            value = ""
        elif isinstance(value, Mapping):
            value = value.get(key, "")
        elif isinstance(value, Sequence) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key]
        else:
            raise TypeError(f"can't index {show(value)} with {show(key)}")
    return value


def _slice(value: Sequence[object], *bounds: int) -> object:
    start, end = (*bounds, 0, len(value))[0], bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise ValueError(f"index out of range: {start}:{end}")
    return value[start:end]


def _length(value: object) -> int:
    if isinstance(value, str | bytes | Mapping | Sequence | Nothing):
        return len(value)
    raise ValueError(f"{show(value)} has no length")


def _equal(value: object, *others: object) -> bool:
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in others)


def _ordered(compare: Callable[[Comparable, Comparable], bool]) -> Function:
    def function(left: Comparable, right: Comparable) -> bool:
        if isinstance(left, str) != isinstance(right, str):
            raise ValueError(f"incompatible types for comparison: {show(left)} and {show(right)}")
        return compare(left, right)

    return function


def _print(*values: object) -> str:
    """Join values as Go's Print does: a space between two that are both no strings."""

    def parts() -> Iterator[str]:
        for position, value in enumerate(values):
            spaced = position and not isinstance(value, str) and not isinstance(values[position - 1], str)
            yield (" " if spaced else "") + show(value)

    return _sum(parts())


def _println(*values: object) -> str:
    return _sum((" " if position else "") + show(value) for position, value in enumerate(values)) + "\n"


def _title(text: str) -> str:
    return re.sub(r"(^|\s)(\w)", lambda found: found[1] + found[2].upper(), text)


# `and` and `or` are the evaluator's own: they judge their arguments one by one and stop at the first that decides.
BUILTINS: Mapping[str, Function] = {
    "and": lambda *values: values,
    "or": lambda *values: values,
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _ordered(lambda left, right: left < right),  # type: ignore[operator]
    "le": _ordered(lambda left, right: left <= right),  # type: ignore[operator]
    "gt": _ordered(lambda left, right: left > right),  # type: ignore[operator]
    "ge": _ordered(lambda left, right: left >= right),  # type: ignore[operator]
    "index": _index,
    "slice": _slice,
    "len": _length,
    "print": _print,
    "println": _println,
    "printf": _printf,
    "json": _json,
    "join": _join,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "lower": lambda text: show(text).lower(),
    "upper": lambda text: show(text).upper(),
    "title": lambda text: _title(show(text)),
    "pad": _pad,
    "truncate": _truncate,
}


class Record(dict[str, object]):
    """The fields that are written; `absent` has the zero values of those that are not, or are written as null."""

    def __init__(self, type_name: str, written: Mapping[str, object], absent: Mapping[str, object]) -> None:
        super().__init__(written)
        self.type_name = type_name
        self.absent = absent
