"""Text of others, made safe to store, to log and to show. Pure."""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CUT = "…"
_QUOTED = 80


def printable(text: str, longest: int) -> str:
    """Return a text as one line of at most `longest` characters that shows what is in it, and does nothing.

    White space becomes a space; what cannot be printed (control characters, changes of direction, characters that no
    Unicode of this Python knows) the replacement character. A text that was cut ends in `…`.
    """
    if len(text) > longest:
        text = text[: longest - len(CUT)] + CUT
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else " " if char.isspace() else REPLACEMENT for char in text])


def quoted(text: str) -> str:
    """Return the beginning of a text in quotation marks, for a sentence that says what is wrong with it."""
    return f"'{printable(text, _QUOTED)}'"
