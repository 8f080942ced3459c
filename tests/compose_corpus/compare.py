"""Where two normalised configurations differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ABSENT = "<absent>"


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the key paths at which two trees differ, with what each has there."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            inner = f"{path}.{key}" if path else key
            yield from differences(ours.get(key, ABSENT), theirs.get(key, ABSENT), inner)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif ours != theirs or isinstance(ours, bool) is not isinstance(theirs, bool):
        yield path, ours, theirs


def comparable(tree: dict[str, Any]) -> dict[str, Any]:
    """Drop the version where none was asked for: each side then names the newest that it knows."""
    return {key: value for key, value in tree.items() if key != "version" or value not in ("3.12", "3.13")}
