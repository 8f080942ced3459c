"""The keys that give devices to a service: `devices`, `gpus`, and `devices` of deploy.resources.reservations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manager.compose.devices import parse_count
from manager.compose.objects import Forms, Key, Object, Short
from manager.compose.rules import Cursor, Rule, Text
from manager.compose.shapes import Items, Options

_TEXT = Key(Text())
_TEXTS = Key(Items())


@dataclass(frozen=True, slots=True)
class Count(Rule):
    """How many devices: a number or `all`, which is -1."""

    expected: str = '"all" or a whole number'

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, int | str) and not isinstance(value, bool):
            try:
                return parse_count(str(value))
            except ValueError:
                pass  # worded below, with the value
        return at.expect(self.expected, value)


_DEVICE = Object({"source": _TEXT, "target": _TEXT, "permissions": _TEXT}, required=("source",))
DEVICES = Items(Forms('a string such as "/dev/fuse:/dev/fuse:rw", or a mapping', scalar=Text(), mapping=_DEVICE))

# Devices that a driver chooses: `gpus`, and `devices` of deploy.resources.reservations, which must say of which kind.
_REQUEST = {
    "driver": _TEXT,
    "count": Key(Count(), keep=True),
    "device_ids": Key(Items(numbers=True)),
    "capabilities": _TEXTS,
    "options": Key(Options()),
}
RESERVED_DEVICES = Items(Object(_REQUEST, required=("capabilities",)), unique=False)
GPUS = Forms(
    '"all", a number, or a list of mappings',
    scalar=Short(Count(), lambda count: [{"count": count}]),
    items=Items(Object(_REQUEST), unique=False),
)
