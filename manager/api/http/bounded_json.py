"""JSON that comes from outside, clients' and engines': decoded within bounds on its depth and size. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

MAX_DEPTH = 64
# Of one object, or of one entry of a list; commas and brackets in texts count, too.
MAX_VALUES = 200_000
# What a value takes in memory, once it is decoded, at most: an empty object in a list, and what finds it there.
VALUE_BYTES = 128


NO_JSON = "it is not JSON: "


class WrongJson(ValueError):
    """It is not JSON, or not of the expected kind, or beyond the bounds; the message says which."""


def decode(text: bytes) -> Any:
    """Decode JSON within the bounds.

    Raises:
        WrongJson: it cannot be, or is not within them.

    """
    if values_in(text) > MAX_VALUES:
        raise WrongJson(f"it has more than {MAX_VALUES} values")
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise WrongJson(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:  # msgspec's own errors are ValueErrors, as that of wrong UTF-8 is
        raise WrongJson(f"{NO_JSON}{error}") from None
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise WrongJson(f"it is nested deeper than {MAX_DEPTH} levels")
    return value


def values_in(text: bytes) -> int:
    """Return how many values JSON has at most."""
    return text.count(b",") + text.count(b"[") + text.count(b"{") + 1


def _deeper(value: Any, depth: int) -> bool:
    """Whether there is a list or an object inside of `depth` others."""
    level = [value]
    for _ in range(depth + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            return False
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return True
