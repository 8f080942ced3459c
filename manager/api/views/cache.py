"""Rendered parts, kept while the immutable values that they came from are in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

DEFAULT_CAPACITY = 4096


class JsonCache:
    """JSON of structs by identity. Tasks share their service's spec, so a list of tasks renders each spec once.

    It holds at most `capacity` entries and starts anew when full; holding the struct itself keeps its identity unique.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[tuple[int, Any], tuple[msgspec.Struct, msgspec.Raw]] = {}

    def get(self, value: T, renderer: Callable[[T], Any]) -> msgspec.Raw:
        """Return `renderer(value)` as encoded JSON."""
        key = (id(value), renderer)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._capacity:
                self._entries.clear()
            entry = (value, msgspec.Raw(msgspec.json.encode(renderer(value))))
            self._entries[key] = entry
        return entry[1]

    def __len__(self) -> int:
        return len(self._entries)
