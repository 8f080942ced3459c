"""What `ls` and `ps` print: rows of named values, as a table, as JSON lines or through the user's Go template."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from common.errors import InvalidArgument
from common.gotemplate import Template, TemplateError
from common.terminal import one_line
from manager.cli.tabwriter import align

Row: TypeAlias = Mapping[str, object]

_JSON = re.compile(r"\bjson\b")
_ESCAPES = {"\\t": "\t", "\\n": "\n"}
# In the heading's line a function has a heading for its argument, which it must leave alone.
_HEADING_FUNCTIONS = {
    name: (lambda *arguments: arguments[0])
    for name in ("json", "join", "split", "title", "lower", "upper", "pad", "truncate")
}


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
            return _each(Template("".join(f"{key}: {{{{.{name}}}}}\n" for key, name in self.raw.items())), rows)
        if layout == "table" or not layout:
            return self._table("\t".join(self.columns), rows)
        text = _unescape(layout)
        if text.startswith("table"):
            return self._table(text.removeprefix("table").lstrip(), rows)
        return _each(_template(text), rows)

    def _table(self, text: str, rows: Sequence[Row]) -> str:
        head = _rendered(_template(text, headings=True), self.headings)
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
    try:
        return Template(text, functions=_HEADING_FUNCTIONS if headings else None)
    except TemplateError as error:
        raise InvalidArgument(f"template parsing error: {error.message}") from error


def _rendered(template: Template, data: Row) -> str:
    try:
        return template.render(data)
    except TemplateError as error:
        raise InvalidArgument(f"template parsing error: {error.message}") from error


def _each(template: Template, rows: Sequence[Row]) -> str:
    # Sorted, for `{{json .}}`: Go sorts the keys of maps.
    return "".join(_rendered(template, dict(sorted(row.items()))) + "\n" for row in rows)
