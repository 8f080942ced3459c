"""What secrets and configs have in common: reading the content, lists."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.clock import parse_rfc3339
from common.errors import InvalidArgument
from manager.cli.rows import Row
from manager.cli.wording import ago, natural, pairs


def read_content(source: str) -> str:
    """Read a file, or standard input for `-`, as base64.

    Raises:
        InvalidArgument: the file cannot be read.

    """
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"error reading content from {source!r}: {error.strerror}") from error
    return base64.b64encode(data).decode()


def content(source: str | None, variable: str | None) -> str:
    """Return the content that a command was given, as base64: a file, standard input, or an environment variable.

    Raises:
        InvalidArgument: it was given none, two, or what cannot be read.

    """
    if (source is None) == (variable is None):
        raise InvalidArgument("give the content once: FILE, - for standard input, or --env NAME")
    if source is not None:
        return read_content(source)
    assert variable is not None
    if variable not in os.environ:
        raise InvalidArgument(f"--env {variable}: there is no such variable in this command's environment")
    return base64.b64encode(os.environb[os.fsencode(variable)]).decode()


def rows(objects: Iterable[Any], now: float) -> list[Row]:
    """Make the rows of secrets or configs, by name; `Driver` is a secret's."""
    return [
        {
            "ID": each["ID"],
            "Name": each["Spec"]["Name"],
            "Driver": (each["Spec"].get("Driver") or {}).get("Name", ""),
            "CreatedAt": ago(parse_rfc3339(each["CreatedAt"]), now),
            "UpdatedAt": ago(parse_rfc3339(each["UpdatedAt"]), now),
            "Labels": pairs(each["Spec"].get("Labels")),
        }
        for each in sorted(objects, key=lambda each: natural(each["Spec"]["Name"]))
    ]
