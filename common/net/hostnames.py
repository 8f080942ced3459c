"""The names of hosts, as nodes of the cluster have them."""

from __future__ import annotations

import re

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")


def is_hostname(text: str) -> bool:
    """Whether a host can have this name: at most 253 letters, digits, `.`, `_`, `-`; the first and last no mark."""
    return _HOSTNAME.fullmatch(text) is not None


def same_name(one: str, other: str) -> bool:
    """Whether two names are one host's to those who look it up: upper and lower case make no difference."""
    return fold(one) == fold(other)


def fold(name: str) -> str:
    return name.casefold()
