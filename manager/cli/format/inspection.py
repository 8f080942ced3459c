"""`inspect` of any object: JSON, a template's text, or a page for people.

JSON is the manager's own text, indented, nothing else changed (Go's json.Indent).
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from common.errors import InvalidArgument
from common.text.terminal import echo, one_line
from manager.cli.several import collect, finish

# A certificate is shown in the lines that it is made of, and can say nothing else in them.
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=]+\n)+-----END CERTIFICATE-----\n?")

Fetch = Callable[[str], Awaitable[str]]
Page = Callable[[Any], Awaitable[str]]

_SPACE = " \t\r\n"
_OPEN = "{["
_STEP = "    "
_CLOSE = "}]"


async def inspect(
    references: Sequence[str],
    fetch: Fetch,
    kind: str,
    layout: str = "",
    page: Page | None = None,
    *,
    pretty: bool = False,
) -> None:
    """Print the objects: `page` makes the text of `--pretty`, `layout` is a Go template or `json`.

    Raises:
        InvalidArgument: both a layout and the pretty page are asked for.
        CommandFailed: one or more do not exist; the others were printed.

    """
    if pretty and layout:
        raise InvalidArgument("--format is incompatible with human friendly format")
    texts, problems = await collect(references, fetch)
    if page is not None and pretty:
        echo("\n".join([await page(_on_one_line(json.loads(text))) for text in texts]), nl=bool(texts))
    else:
        show([(text, kind) for text in texts], layout)
    finish(problems)


def show(objects: Sequence[tuple[str, str]], layout: str) -> None:
    """Print objects, the JSON text and the kind of each, as `go_types.OF_KIND` has it.

    Raises:
        InvalidArgument: the template is wrong, or names a field that a type does not have.

    """
    if layout in ("", "json"):
        whole = f"[{','.join(text.strip() for text, _ in objects)}]"
        echo(whole if layout else indent(whole))
        return
    for text, kind in objects:
        echo(_through(layout, json.loads(text), kind))


def _on_one_line(value: Any) -> Any:
    """Return a JSON value of which no text is more than one line of a page, or more than one cell."""
    match value:
        case str():
            return value if _PEM.fullmatch(value) else one_line(value)
        case list():
            return [_on_one_line(each) for each in value]
        case dict():
            return {one_line(key): _on_one_line(each) for key, each in value.items()}
    return value


def _through(layout: str, data: dict[str, Any], kind: str) -> str:
    # Only templates need these: templates' parser, and the API's types.
    from common.spec.gotemplate import Template, TemplateError  # noqa: PLC0415
    from manager.cli.format.go_types import OF_KIND, to_go  # noqa: PLC0415

    fields = {**data, "ID": data["Id"]} if "Id" in data and "ID" not in data else data
    try:
        return Template(layout, strict=False).render(to_go(fields, OF_KIND[kind]))
    except TemplateError as error:
        raise InvalidArgument(f"template parsing error: {error.message}") from error


# --- indentation ---


def indent(text: str) -> str:
    """Indent JSON text without reading its values: numbers and escapes stay as they are written."""
    parts: list[str] = []
    depth, empty = 0, False
    for piece in _pieces(text):
        if empty and piece not in _CLOSE:
            depth += 1
            parts.append("\n" + _STEP * depth)
        if piece in _OPEN:
            parts.append(piece)
            empty = True
            continue
        if piece in _CLOSE:
            depth -= 0 if empty else 1
            parts.append(piece if empty else "\n" + _STEP * depth + piece)
        elif piece == ",":
            parts.append(",\n" + _STEP * depth)
        else:
            parts.append(": " if piece == ":" else piece)
        empty = False
    return "".join(parts)


def _pieces(text: str) -> Iterator[str]:
    """Yield punctuation, whole strings and other scalars, without the space between them."""
    position = 0
    while position < len(text):
        character = text[position]
        end = position + 1
        if character == '"':
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            end += 1
        elif character not in "{}[],:" + _SPACE:
            while end < len(text) and text[end] not in "{}[],:" + _SPACE:
                end += 1
        if character not in _SPACE:
            yield text[position:end]
        position = end
