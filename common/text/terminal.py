r"""Text on its way to a terminal or a log: what others have put into it is shown there, and does not act.

A name or a message may be anybody's: a node's, a container's, an engine's. Control characters in it would move the
cursor, set colours or a title, or answer for the person at the keyboard; those that turn the direction of writing show
another text than is there. They are written as JSON escapes (`\u001b`), so JSON stays valid and means the same.
What programs have written themselves (`logs`, `attach`, `exec`, `build`) is passed on as it is, as docker does.
"""

from __future__ import annotations

import re

import click

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# C0 and C1 controls and DEL; ends of lines and paragraphs; marks, embeddings, overrides and isolates of direction.
_ACTING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_IN_TEXT = re.compile(f"[{_ACTING}]")
_IN_LINE = re.compile(f"[{_ACTING}\t\n]")

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CUT = "…"
_QUOTED = 80


def visible(text: str) -> str:
    """Return the text with what would act on a terminal shown; ends of lines and tabs stay."""
    return _IN_TEXT.sub(_escape, text)


def one_line(text: str) -> str:
    """Return the text as `visible` does, on one line and in one cell: ends of lines and tabs are shown too."""
    return _IN_LINE.sub(_escape, text)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text, of which what would act on a terminal is shown, to standard output or standard error."""
    click.echo(visible(text), err=err, nl=nl)  # noqa: TID251 - this is it


def warn(text: str) -> None:
    """Print to standard error what is worth knowing, and no reason to stop."""
    echo(text, err=True)


def pass_on(text: str, *, err: bool = False) -> None:
    """Print what a program has written, as it is."""
    click.echo(text, err=err, nl=False, color=True)  # noqa: TID251 - likewise; click would take colours out of pipes


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


# --- text of others, made safe to store, to log and to show ---


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


def quote(text: str) -> str:
    """Return the beginning of a text in quotation marks, for a sentence that says what is wrong with it."""
    return f"'{printable(text, _QUOTED)}'"
