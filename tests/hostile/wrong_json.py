"""JSON that is nearly right: what a program that means harm, or is broken, makes of a right value."""

import json
import random
from typing import Any

# Text in the place of a value, that `json.dumps` would not write.
RAW = (
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "1" + "0" * 400,
    "-" + "9" * 5000,
    "[" * 2000 + "]" * 2000,
    '{"a":' * 500 + "1" + "}" * 500,
    "[" * 200_000,
    '"\\ud800"',
    '"\\udc00\\ud800"',
    "tru",
    "",
)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    -(2**70),
    0.5,
    1e308,
    -1e-308,
    "",
    "0",
    "x" * 70_000,
    "\x00",
    "\x1b]0;title\x07",
    "a\r\nSet-Cookie: b=c",
    "../../..",
    "%2e%2e%2f",
    "\u202e",
    [],
    {},
    [[]],
    [None],
    {"": None},
    [{}],
    ["x"] * 1000,
    {str(number): number for number in range(1000)},
)
_MARK = "\ue000raw{}\ue001"


def text_of(value: Any) -> bytes:
    """Write JSON in which marks for `RAW` became what they stand for."""
    text = json.dumps(value, ensure_ascii=False)
    for number, raw in enumerate(RAW):
        text = text.replace(f'"{_MARK.format(number)}"', raw).replace(_MARK.format(number), "raw")
    return text.encode("utf-8", "surrogatepass")


def wrong(rng: random.Random) -> Any:
    """Return a value that is hardly what is expected anywhere."""
    return _MARK.format(rng.randrange(len(RAW))) if rng.random() < 0.4 else rng.choice(ODD)


def mutated(value: Any, rng: random.Random, others: tuple[str, ...] = ()) -> Any:
    """Return a value with one thing in it changed: another kind, range or size, a key more or less, or one of `others`.

    `others` are what belongs to somebody else: ids, names.
    """
    places = list(_places(value))
    if not places or rng.random() < 0.1:
        return wrong(rng)
    path = rng.choice(places)
    return _changed(value, path, rng, others)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from _places(each, (*path, key))


def _changed(value: Any, path: tuple[Any, ...], rng: random.Random, others: tuple[str, ...]) -> Any:
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[key] = _changed(copy[key], tuple(rest), rng, others)
        return copy
    chance = rng.random()
    if others and chance < 0.15:
        copy[key] = rng.choice(others)
    elif isinstance(copy, dict) and chance < 0.3:
        copy[rng.choice((key.lower(), key.upper(), key + "x", ""))] = wrong(rng)
    elif chance < 0.4:
        del copy[key]
    elif isinstance(copy, list) and chance < 0.5:
        copy *= rng.choice((2, 50))
    else:
        copy[key] = wrong(rng)
    return copy
