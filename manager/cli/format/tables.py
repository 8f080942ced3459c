"""What `ls` and `ps` print: rows of named values, as a table, as JSON lines or through the user's Go template.

Columns are aligned as Go's text/tabwriter does it with the settings of Docker's command line. A table that changes is
shown in its own place on a terminal, elsewhere again and again. What several tables write alike is here, too: short
ids, times ago, natural order.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from common.errors import InvalidArgument
from common.text.quantities import human_duration
from common.text.terminal import echo, one_line, pass_on, visible

if TYPE_CHECKING:
    from common.spec.gotemplate import Template


Row: TypeAlias = Mapping[str, object]

_JSON = re.compile(r"\bjson\b")
_FIELD = re.compile(r"\{\{\.(\w+)\}\}")
_ESCAPES = {"\\t": "\t", "\\n": "\n"}
# In the heading's line a function has a heading for its argument, which it must leave alone.
_HEADING_FUNCTIONS = {
    name: (lambda *arguments: arguments[0])
    for name in ("json", "join", "split", "title", "lower", "upper", "pad", "truncate")
}

MIN_WIDTH = 10
PADDING = 3
# Seconds between refreshes of usage, and what is shown for an unknown number.
SHOW_SECONDS = 2.0
UNKNOWN = "--"
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_SHORT = 12
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of row: the default columns' templates, and the heading of each field a template may name.

    `raw` are the fields that `--format raw` prints, by the key it gives them.
    """

    columns: tuple[str, ...]
    headings: Mapping[str, str]
    raw: Mapping[str, str] = field(default_factory=dict)
    key: str = "ID"

    def render(self, rows: Sequence[Row], layout: str = "", *, quiet: bool = False) -> str:
        """Print the rows; the text ends with a newline unless there is nothing to print.

        Raises:
            InvalidArgument: the template is wrong or names a field that these rows do not have.

        """
        if quiet and layout in ("", "table"):
            return "".join(f"{row[self.key]}\n" for row in rows)
        if layout == "json":
            return "".join(json_line(row) + "\n" for row in rows)
        if _JSON.search(layout) is None:  # which writes any value on one line by itself
            rows = [_in_cells(row) for row in rows]
        if layout == "raw":
            return _each(_template("".join(f"{key}: {{{{.{name}}}}}\n" for key, name in self.raw.items())), rows)
        if layout == "table" or not layout:
            return self._default(rows)
        text = _unescape(layout)
        if text.startswith("table"):
            return self._table(text.removeprefix("table").lstrip(), rows)
        return _each(_template(text), rows)

    def _default(self, rows: Sequence[Row]) -> str:
        """Print the default columns; where they are fields with text, without templates, which take long to load."""
        fields = [found[1] for found in map(_FIELD.fullmatch, self.columns) if found is not None]
        lines = [self.headings, *rows]
        if len(fields) < len(self.columns) or not all(
            isinstance(row.get(name), str) for row in lines for name in fields
        ):
            return self._table("\t".join(self.columns), rows)
        return align("".join("\t".join(str(row[name]) for name in fields) + "\n" for row in lines))

    def _table(self, text: str, rows: Sequence[Row]) -> str:
        head = _render(_template(text, headings=True), self.headings)
        return align(f"{head}\n" + _each(_template(text), rows))


def _in_cells(row: Row) -> Row:
    return {name: one_line(value) if isinstance(value, str) else value for name, value in row.items()}


def json_line(row: Row) -> str:
    """Write a row as one line of JSON, keys sorted and `<`, `>`, `&` escaped, as Go does."""
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _unescape(text: str) -> str:
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    return text


def _template(text: str, *, headings: bool = False) -> Template:
    from common.spec.gotemplate import Template, TemplateError  # noqa: PLC0415 - see `Table._default`

    try:
        return Template(text, functions=_HEADING_FUNCTIONS if headings else None)
    except TemplateError as error:
        raise InvalidArgument(f"template parsing error: {error.message}") from error


def _render(template: Template, data: Row) -> str:
    from common.spec.gotemplate import TemplateError  # noqa: PLC0415 - as above

    try:
        return template.render(data)
    except TemplateError as error:
        raise InvalidArgument(f"template parsing error: {error.message}") from error


def _each(template: Template, rows: Sequence[Row]) -> str:
    # Sorted, for `{{json .}}`: Go sorts the keys of maps.
    return "".join(_render(template, dict(sorted(row.items()))) + "\n" for row in rows)


# --- columns ---


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


def repaint(text: str) -> None:
    """Show a table in place of the one before."""
    if sys.stdout.isatty():
        lines = visible(text).replace("\n", f"{_END_OF_LINE}\n")
        pass_on(f"{_HOME}{lines}{_REST}")
    else:
        echo(text, nl=False)


def short_id(text: str) -> str:
    return text[:_SHORT]


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that counts digits as numbers: `web.2` before `web.10`."""
    parts = _DIGITS.split(text)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def ago(instant: float, now: float) -> str:
    """Tell how long ago an instant (Unix seconds) was: `4 minutes ago`."""
    return f"{human_duration(now - instant)} ago"


def capitalize(text: str) -> str:
    """Write a state as tables do: `running` → `Running`."""
    return text[:1].upper() + text[1:].lower()


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def pairs(mapping: Mapping[str, str] | None) -> str:
    """Write labels in one cell: `a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted((mapping or {}).items()))


def go_time(text: str) -> str:
    """Write the API's time as Go prints one: `2026-11-24T13:08:35.970Z` → `2026-11-24 13:08:35.97 +0000 UTC`."""
    moment, zone = (text[:-1], "+0000 UTC") if text.endswith("Z") else (text[:-6], text[-6:].replace(":", ""))
    date, _, clock = moment.partition("T")
    if "." in clock:
        clock = clock.rstrip("0").rstrip(".")
    return f"{date} {clock} {zone}"
