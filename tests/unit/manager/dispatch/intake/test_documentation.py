"""The table in docs/protocol.md is what the forms say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from manager.dispatch.intake.messages import FORMS, parts

PAGE = Path(__file__).parents[5] / "docs/protocol.md"
HEADING = "| struct | fields | what they may say |"


def rows() -> Iterator[str]:
    """Write a line for each rule of each struct, in the order of the messages; fields of one rule share it."""
    known = {name: form for message in FORMS.values() for name, form in parts(message).items()}
    for name, form in known.items():
        fields: dict[str, list[str]] = {}
        for field, rule in form.rules.items():
            fields.setdefault(rule.words, []).append(f"`{field}`")
        yield from (f"| `{name}` | {', '.join(names)} | {words} |" for words, names in fields.items())


def test_the_page_has_the_rule_of_every_field() -> None:
    lines = PAGE.read_text().splitlines()
    start = lines.index(HEADING) + 2
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    assert lines[start:end] == list(rows()), "write what `rows()` says into the page"


def test_cells_are_short() -> None:
    assert all(len(cell) < 90 for row in rows() for cell in row.split("|"))
