"""Walks a folder and its index side by side. Both are in the order of paths, so neither need be in memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from worker.volumes.copy.index import Row
from worker.volumes.copy.walk import Found


def merge(walked: Iterable[Found], rows: Iterable[Row]) -> Iterator[tuple[Found, Row | None] | tuple[None, Row]]:
    """Yield each file with its row; a file that is new without one, a row whose file is gone without a file."""
    ahead = iter(rows)
    row = next(ahead, None)
    for found in walked:
        while row is not None and row.path < found.path:
            yield None, row
            row = next(ahead, None)
        if row is not None and row.path == found.path:
            yield found, row
            row = next(ahead, None)
        else:
            yield found, None
    while row is not None:
        yield None, row
        row = next(ahead, None)
