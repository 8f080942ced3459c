"""Splitting a command string into arguments as Docker's command line does for `command` and `entrypoint`.

Close to a POSIX shell's words, with the differences of the splitter that Docker uses: inside double quotes a backslash
makes any next character literal, and `#` at the start of a word begins a comment.
"""

from __future__ import annotations

_BLANK = " \t\r\n"


def split_command(text: str) -> list[str]:
    """Split into arguments. Raises ValueError for a quote that is not closed or a backslash at the end."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in _BLANK:
            at += 1
        elif text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            word, at = _word(text, at)
            words.append(word)
    return words


def _word(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text) and text[at] not in _BLANK:
        if text[at] == "'":
            end = text.find("'", at + 1)
            if end < 0:
                raise ValueError("a ' is not closed")
            parts.append(text[at + 1 : end])
            at = end + 1
        elif text[at] == '"':
            part, at = _double_quoted(text, at + 1)
            parts.append(part)
        else:
            char, at = _literal(text, at)
            parts.append(char)
    return "".join(parts), at


def _double_quoted(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text):
        if text[at] == '"':
            return "".join(parts), at + 1
        char, at = _literal(text, at)
        parts.append(char)
    raise ValueError('a " is not closed')


def _literal(text: str, at: int) -> tuple[str, int]:
    if text[at] != "\\":
        return text[at], at + 1
    if at + 1 == len(text):
        raise ValueError("a backslash ends it")
    return text[at + 1], at + 2
