"""JSON as `inspect` prints it: the manager's own text, indented, nothing else changed (Go's json.Indent)."""

from __future__ import annotations

from collections.abc import Iterator

_SPACE = " \t\r\n"
_OPEN = "{["
_CLOSE = "}]"


def indent(text: str, step: str = "    ") -> str:
    """Indent JSON text without reading its values: numbers and escapes stay as they are written."""
    parts: list[str] = []
    depth, empty = 0, False
    for piece in _pieces(text):
        if empty and piece not in _CLOSE:
            depth += 1
            parts.append("\n" + step * depth)
        if piece in _OPEN:
            parts.append(piece)
            empty = True
            continue
        if piece in _CLOSE:
            depth -= 0 if empty else 1
            parts.append(piece if empty else "\n" + step * depth + piece)
        elif piece == ",":
            parts.append(",\n" + step * depth)
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
