"""Nodes ordered by how many tasks they have: the queue from which the scheduler takes the emptiest."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator


class Order:
    """Keys by a small non-negative number, cheap to move by one and to walk from the lowest.

    One sorted bucket a number, so the order depends on the content alone and never on the history: two managers that
    know the same decide the same.
    """

    __slots__ = ("_buckets", "_lowest")

    def __init__(self) -> None:
        self._buckets: list[list[str]] = []
        self._lowest = 0

    def add(self, key: str, number: int) -> None:
        while number >= len(self._buckets):
            self._buckets.append([])
        insort(self._buckets[number], key)
        self._lowest = min(self._lowest, number)

    def discard(self, key: str, number: int) -> None:
        """Remove `key`, which is in at `number`."""
        bucket = self._buckets[number]
        position = bisect_left(bucket, key)
        assert bucket[position] == key, f"{key} is not ordered at {number}"
        del bucket[position]

    def move(self, key: str, number: int, to: int) -> None:
        """Put `key`, which is in at `number`, to another number."""
        self.discard(key, number)
        self.add(key, to)

    def __iter__(self) -> Iterator[str]:
        """Walk from the lowest number, in equal numbers by key. The order must not change while it is walked."""
        buckets = self._buckets
        while self._lowest < len(buckets) and not buckets[self._lowest]:
            self._lowest += 1
        for number in range(self._lowest, len(buckets)):
            yield from buckets[number]
