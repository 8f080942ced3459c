"""The short syntax of a service's `volumes`: `[SOURCE:]TARGET[:OPTIONS]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from manager.cli.compose.rules import Cursor, Rule

PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
_DRIVE = re.compile(r"[A-Za-z]:\\")
_MAX_PARTS = 3


def parse_volume(text: str) -> dict[str, Any]:
    """Expand one entry into the long form. Raises ValueError.

    A source that begins with `.`, `/`, `~` or a Windows drive is a bind mount, any other a named volume, none an
    anonymous one. As in Docker, options that mean nothing here (`z`, `delegated`, …) are ignored.
    """
    if not text:
        raise ValueError("it is empty")
    parts = _sections(text)
    if "" in parts:
        raise ValueError("a section between colons is empty")
    if len(parts) > _MAX_PARTS:
        raise ValueError("there are too many colons")
    if len(parts) == 1:
        return {"type": "volume", "target": parts[0]}
    source, target = parts[0], parts[1]
    entry = {"type": "bind" if _is_path(source) else "volume", "source": source, "target": target}
    return {**entry, **_options(parts[2].split(",") if len(parts) == _MAX_PARTS else [])}


def _sections(text: str) -> list[str]:
    parts: list[str] = []
    rest = text
    while True:
        skip = 2 if _DRIVE.match(rest) else 0
        colon = rest.find(":", skip)
        if colon < 0:
            return [*parts, rest]
        parts.append(rest[:colon])
        rest = rest[colon + 1 :]


def _is_path(source: str) -> bool:
    return source[0] in "./~" or source.startswith("\\\\") or bool(_DRIVE.match(source))


def _options(options: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for option in options:
        if option in ("ro", "rw"):
            out["read_only"] = option == "ro"
        elif option == "nocopy":
            out["volume"] = {"nocopy": True}
        elif option in PROPAGATIONS:
            out["bind"] = {"propagation": option}
    return out


@dataclass(frozen=True, slots=True)
class ServiceVolume(Rule):
    """One entry of `volumes`; `long` reads the long form."""

    long: Rule
    expected: str = 'a string such as "data:/var/lib/data:ro", or a mapping'

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, dict):
            return self.long.read(value, at)
        if not isinstance(value, str):
            return at.expect(self.expected, value)
        try:
            entry = parse_volume(str(value))
        except ValueError as error:
            return at.fail(f'"{value}" is not a volume: {error}')
        return self.long.read(entry, at)
