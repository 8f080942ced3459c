"""Columns as Go's text/tabwriter aligns them, with the settings of the Docker command line."""

from __future__ import annotations

from itertools import groupby

MIN_WIDTH = 10
PADDING = 3


def align(text: str, min_width: int = MIN_WIDTH, padding: int = PADDING) -> str:
    """Turn the tabs of `text` into spaces.

    A cell is text that a tab ends, so a line's last cell is in no column. A column is a run of lines that all have the
    cell, and as wide as its widest cell and the padding.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]
    for column in range(max(len(cells) for cells in lines) - 1):
        has_cell = [len(cells) - 1 > column for cells in lines]
        for filled, block in groupby(range(len(lines)), has_cell.__getitem__):
            rows = list(block) if filled else []
            width = max((len(lines[row][column]) + padding for row in rows), default=0)
            for row in rows:
                widths[row].append(max(min_width, width))
    return "\n".join(_line(cells, row) for cells, row in zip(lines, widths, strict=True))


def _line(cells: list[str], widths: list[int]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)) + cells[-1]
