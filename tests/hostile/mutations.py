"""Messages that are nearly right: every field of every message that there is, each made wrong in every way known here.

What fields there are is read from the messages themselves, so a new message and a new field are tried by themselves.
Most of what is said is of the right type, and wrong in what it means: that is what a strict codec lets through.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import EnumMeta
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from common.wire.codec import MESSAGE_TYPES
from common.wire.message import Message

# A field's way from its message: names of fields, `[]` into a list, `{key}` and `{value}` into a map.
Path: TypeAlias = tuple[str, ...]

# In all that would be a command, were it not only text.
CANARY = "pwned"
METACHARACTERS = (
    f"fd00::66 . fd00::/120 }}\nadd table inet {CANARY}\n# {{",
    f'"; add table ip {CANARY}; #',
    f"$(touch /tmp/{CANARY})`touch /tmp/{CANARY}`",
    f"'; touch /tmp/{CANARY} #",
    f"|| touch /tmp/{CANARY} &",
    f"\x1b]0;{CANARY}\x07\x1b[2J\x1b[31m{CANARY}",
    f"{CANARY}\r\n{CANARY}: x\r\n\r\nGET /{CANARY} HTTP/1.1",
    f"../../../../etc/{CANARY}",
    f"/etc/cron.d/{CANARY}",
    f"%2e%2e%2f{CANARY}%00",
    f"{{{{.Env {CANARY}}}}} ${{{CANARY}}} %(x)s %n",
    f"<script>{CANARY}</script>",
    f"\x00{CANARY}\x00",
    f"\u202e{CANARY}\u2066\ufeff",
    f"-o{CANARY}",
    f"--{CANARY}=1",
)
TEXTS = (
    "", " ", ".", "..", "-", "*", "0", "-1", "nan", "null", "true", "[]", "{}", "é", "\U0001f480", "a" * 64, "a" * 256,
    "a." * 200, "a" * 5_000, "a" * 70_000, "x" * 63 + ".example", "localhost", "registry.example.com", "latest",
)  # fmt: skip
ADDRESSES = (
    "0.0.0.0", "127.0.0.1", "127.0.0.53", "255.255.255.255", "224.0.0.1", "169.254.169.254", "10.0.0.0", "10.240.1.1",
    "10.239.240.1", "100.64.0.1", "192.0.2.10", "198.51.100.66", "1", "1.2.3", "01.02.03.04", "1.2.3.4/8", "1.2.3.4:80",
    "::", "::1", "ff02::1", "fe80::1", "fe80::1%eth0", "::ffff:127.0.0.1", "::ffff:192.0.2.11", "fd00::1", "fd00::/8",
    "fd00:20:0:ffff:ffff:ffff:af0:102", "2001:db8::1", "[::1]", "not-an-ip", "0x7f000001", "2130706433",
)  # fmt: skip
INTEGERS = (
    0, 1, -1, 2, 80, 127, 128, 255, 256, 4095, 4096, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**64 - 1,
    -(2**31), -(2**63), 10**12, 10**18,
)  # fmt: skip
FLOATS = (
    math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-300, 1e300, -1e300, 1.7976931348623157e308, 5e-324, 1e18, 1e12,
    253402300800.0, 1_700_000_000.5, 0.5,
)  # fmt: skip
# Of the wrong type, whatever the right one is; the strict codec is to end the connection.
_FOREIGN: tuple[Any, ...] = (None, True, 5, -5, 1.5, "text", b"bytes", [], [[]], {}, {"a": 1}, {1: 2}, [None])
_DEEP = 500
_RIGHT_TYPE = 0.9
# How often what need not be there is: what the vocabulary has a value for, and everything else.
_MEANT, _MORE = 0.9, 0.2


@dataclass
class Vocabulary:
    """What there is in a cluster that a node may name: its own, and what is others'.

    `own` and `others` are values by the place that has such ones: a field's name in small letters without underscores
    (`taskid`), or a map's keys or values (`addresses{key}`). Texts of `others` are used in any place. `now` is the
    manager's time.
    """

    now: Callable[[], float]
    own: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def any_of_others(self) -> list[str]:
        return [text for texts in self.others.values() for text in texts]


def kinds() -> dict[str, type[Message]]:
    return {kind.__name__: kind for kind in MESSAGE_TYPES}


def paths(kind: type[Message]) -> list[Path]:
    """Name every place in a message, containers and what is in them."""
    return [(), *_paths(inspect.type_info(kind), ())]


def _paths(info: inspect.Type, at: Path) -> Iterator[Path]:
    match info:
        case inspect.StructType(fields=fields):
            for field in fields:
                yield (*at, field.encode_name)
                yield from _paths(field.type, (*at, field.encode_name))
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield (*at, "[]")
            yield from _paths(item, (*at, "[]"))
        case inspect.DictType(key_type=key, value_type=value):
            for step, inner in (("{key}", key), ("{value}", value)):
                yield (*at, step)
                yield from _paths(inner, (*at, step))
        case inspect.UnionType(types=types):
            for each in types:
                yield from _paths(each, at)
        case _:
            return


class Mutator:
    """Makes messages of these kinds; the same for the same seed. What was made wrong is counted in `tried`."""

    def __init__(self, seed: int, vocabulary: Vocabulary, names: Collection[str]) -> None:
        self._rng = random.Random(seed)
        self._known = vocabulary
        self._infos = {name: inspect.type_info(kind) for name, kind in kinds().items() if name in names}
        self._kinds = kinds()
        self._left: dict[str, list[Path]] = {}
        self.tried: Counter[tuple[str, Path]] = Counter()

    def frame(self, name: str) -> bytes:
        """Make a frame of a message of this kind, with one or a few of its places made wrong."""
        rng = self._rng
        targets = {self._next(name) for _ in range(rng.choice((1, 1, 1, 1, 2, 4)))}
        body = self._make(self._infos[name], (), targets)
        for target in targets:
            self.tried[name, target] += 1
        number = rng.choice((0, 1, rng.randrange(100), 2**63 - 1))
        return msgspec.msgpack.encode((self._kinds[name].KIND, number, body))

    def _next(self, name: str) -> Path:
        """Go through all the places of a message, in an order that is another each time."""
        if not self._left.get(name):
            self._left[name] = paths(self._kinds[name])
            self._rng.shuffle(self._left[name])
        return self._left[name].pop()

    # --- values -------------------------------------------------------------------------------------------------------

    def _make(self, info: inspect.Type, at: Path, targets: set[Path]) -> Any:
        if at in targets:
            if at and self._rng.random() > _RIGHT_TYPE:
                return self._wrong_type()
            if not isinstance(info, inspect.StructType) or not at:
                return self._hostile(info, at, targets)
        match info:
            case inspect.StructType(fields=fields):
                return self._struct(fields, at, targets)
            case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
                wanted = _leads_into(at, targets)
                count = self._rng.choice((1, 1, 2)) if wanted else self._rng.choice((0, 0, 1, 2))
                return [self._make(item, (*at, "[]"), targets) for _ in range(count)]
            case inspect.DictType(key_type=key, value_type=value):
                wanted = _leads_into(at, targets)
                count = self._rng.choice((1, 1, 2)) if wanted else self._rng.choice((0, 1))
                made = [
                    (self._key(self._make(key, (*at, "{key}"), targets)), self._make(value, (*at, "{value}"), targets))
                    for _ in range(count)
                ]
                return dict(made)
            case inspect.UnionType(types=types):
                inner = [each for each in types if not isinstance(each, inspect.NoneType)]
                return self._make(self._rng.choice(inner), at, targets)
            case _:
                return self._plausible(info, at)

    def _struct(self, fields: Sequence[inspect.Field], at: Path, targets: set[Path]) -> dict[str, Any]:
        """Make what must be there, what leads to what is to be wrong, most of what has a meaning, and a little more."""
        body = {}
        for each in fields:
            here = (*at, each.encode_name)
            wanted = here in targets or _leads_into(here, targets)
            chance = _MEANT if _field(here) in self._known.own else _MORE
            if each.required or wanted or self._rng.random() < chance:
                body[each.encode_name] = self._make(each.type, here, targets)
        return body

    @staticmethod
    def _key(value: Any) -> Any:
        return value if isinstance(value, str | int | bytes | float) else "unhashable"

    def _plausible(self, info: inspect.Type, at: Path) -> Any:
        rng, name = self._rng, _field(at)
        match info:
            case inspect.StrType():
                return rng.choice(self._known.own.get(name) or self._known.others.get(name) or ("x",))
            case inspect.IntType():
                return rng.choice((0, 1, 80))
            case inspect.FloatType():
                return self._known.now()
            case inspect.BoolType():
                return rng.random() < 0.5
            case inspect.BytesType():
                return b"x"
            case inspect.EnumType(cls=EnumMeta() as members):
                return rng.choice(self._known.own.get(name) or [each.value for each in members])  # type: ignore[var-annotated]
            case _:
                return None

    def _hostile(self, info: inspect.Type, at: Path, targets: set[Path]) -> Any:
        """Make a value of the right type that no honest node would say."""
        rng = self._rng
        match info:
            case inspect.StrType():
                return self._text(_field(at))
            case inspect.IntType():
                return rng.choice(INTEGERS)
            case inspect.FloatType():
                return rng.choice((*FLOATS, self._known.now() + rng.choice((-1e6, -10.0, 10.0, 1e6))))
            case inspect.BoolType():
                return rng.random() < 0.5
            case inspect.BytesType():
                return rng.choice((b"", b"\xff" * 100, rng.randbytes(rng.randrange(2_000)), bytes(100_000)))
            case inspect.EnumType(cls=EnumMeta() as members):
                return rng.choice([*(each.value for each in members), *INTEGERS])  # type: ignore[var-annotated]
            case inspect.UnionType(types=types):
                return self._hostile(rng.choice(types), at, targets)
            case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
                one = self._make(item, (*at, "[]"), targets)
                return rng.choice(([], [one] * rng.choice((2, 50, 2_000)), [one, one]))
            case inspect.DictType(key_type=key, value_type=value):
                count = rng.choice((0, 2, 50, 500))
                keys = [self._key(self._make(key, (*at, "{key}"), targets)) for _ in range(min(count, 5))]
                many = {f"{each}{number}" if isinstance(each, str) else each: each for number, each in enumerate(keys)}
                return {each: self._make(value, (*at, "{value}"), targets) for each in (*keys, *many)}
            case inspect.StructType(fields=fields):
                body = self._struct(fields, at, targets)
                return rng.choice((body, body | {"NoSuchField": 1}, {}))
            case _:
                return None

    def _text(self, name: str) -> str:
        rng, known = self._rng, self._known
        sorts: tuple[Sequence[str], ...] = (
            METACHARACTERS,
            TEXTS,
            ADDRESSES,
            known.any_of_others() or ("x",),
            known.others.get(name) or ("x",),
            known.own.get(name) or ("x",),
        )
        return rng.choice(rng.choice(sorts))

    def _wrong_type(self) -> Any:
        rng = self._rng
        if rng.random() < 0.1:
            deep: Any = []
            for _ in range(rng.choice((10, 100, _DEEP))):
                deep = [deep] if rng.random() < 0.5 else {"a": deep}
            return deep
        return rng.choice(_FOREIGN)


def _leads_into(at: Path, targets: Collection[Path]) -> bool:
    """Whether a place that is to be wrong lies below this one."""
    return any(len(target) > len(at) and target[: len(at)] == at for target in targets)


def _field(at: Path) -> str:
    """Return what a `Vocabulary` calls a place."""
    name = next((step for step in reversed(at) if step[0] not in "[{"), "")
    return name.lower().replace("_", "") + (at[-1] if at and at[-1][0] == "{" else "")
