"""The `key=value,key=value` syntax that --mount, --publish, --secret, --config and --network share."""

from __future__ import annotations

import csv
from collections.abc import Iterator

_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


def fields(text: str, *, bare: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """Yield the pairs; keys in lower case. Keys in `bare` may stand alone and are then `true`.

    Raises:
        ValueError: a field has no `=`, or quotes are wrong.

    """
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    for part in rows[0] if rows else []:
        key, equals, value = part.partition("=")
        if not equals and key.lower() not in bare:
            raise ValueError(f"invalid field '{part}' must be a key=value pair")
        yield key.strip().lower(), value if equals else "true"


def boolean(key: str, value: str) -> bool:
    """Read a boolean as Go does.

    Raises:
        ValueError: it is none.

    """
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(f"invalid value for {key}: {value} (true or false is expected)")
