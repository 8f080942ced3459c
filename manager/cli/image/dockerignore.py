"""`.dockerignore`: which files of a build's context are left at home (docs.docker.com/build/concepts/context).

One pattern a line, `#` begins a comment, `!` makes an exception, the last pattern that matches decides. `*`, `?`
and `[…]` stop at a slash, `**` does not. A pattern that matches a folder matches all that is in it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from common.errors import InvalidArgument

FILE = ".dockerignore"


@dataclass(frozen=True, slots=True)
class Ignored:
    """The patterns of a file, in its order: each with whether it is an exception."""

    patterns: tuple[tuple[re.Pattern[str], bool], ...] = ()

    @classmethod
    def parse(cls, text: str, always: Iterable[str] = ()) -> Self:
        """Read a file's text. What is in `always` (paths in the context) is sent whatever the file says.

        Raises:
            InvalidArgument: a pattern is malformed; the message names its line.

        """
        patterns = []
        for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
            line = raw.strip()
            if not line or raw.startswith("#"):
                continue
            exception = line.startswith("!")
            pattern = posixpath.normpath(line.removeprefix("!").strip()).lstrip("/")
            if pattern == ".":
                continue
            try:
                patterns.append((re.compile(_expression(pattern)), exception))
            except re.error as error:
                raise InvalidArgument(f"{FILE}:{number}: {line!r} is not a pattern: {error}") from error
        patterns += [(re.compile(re.escape(path)), True) for path in always]
        return cls(tuple(patterns))

    @property
    def has_exceptions(self) -> bool:
        return any(exception for _, exception in self.patterns)

    def ignores(self, path: str) -> bool:
        """Whether a file or folder (its path in the context, with slashes) is left out."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        ignored = False
        for pattern, exception in self.patterns:
            if exception is ignored and any(pattern.fullmatch(each) for each in above):
                ignored = not exception
        return ignored

    def may_need(self, folder: str) -> bool:
        """Whether something in a folder may be sent, although the folder itself is left out."""
        return not self.ignores(folder) or self.has_exceptions


def _expression(pattern: str) -> str:
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\")
            out, at = f"{out}[{inside}]", end + 1
        elif pattern[at] == "\\" and at + 1 < len(pattern):
            out, at = out + re.escape(pattern[at + 1]), at + 2
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(pattern[at], re.escape(pattern[at]))
            at += 1
    return out
