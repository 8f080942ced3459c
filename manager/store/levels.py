"""Levels: the format of a store that managers share, the newest that all of them can read. Pure.

The leader raises the level when every manager has said that it knows a newer one. Before that nothing of it is written:
an older manager that takes over could not read it, or would drop fields that it does not know. The level never goes
back, and a manager that does not know it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.errors import FailedPrecondition
from common.version import version

OLDEST_LEVEL = 1
# A task's row names its specification, which is stored once.
SPECS_ONCE = 2
# The authority's root is replaced with a step of its own for several managers.
ROOT_OF_MANAGERS = 2
# There are records of dashboard tokens.
DASHBOARD_TOKENS = 2
NEWEST_LEVEL = 2
# The levels that this release knows, as links and joins state them.
LEVELS = (OLDEST_LEVEL, NEWEST_LEVEL)


class UnknownLevel(FailedPrecondition):
    """The store has a level that this release does not know."""


def check_level(level: int, newest: int = NEWEST_LEVEL) -> None:
    """Check that a release, which knows levels up to `newest`, can read a store.

    Raises:
        UnknownLevel: it is too old.

    """
    if level > newest:
        raise UnknownLevel(
            f"the store has level {level}, and release {version()} supports levels up to {newest}: install the release "
            "that the other managers run"
        )


def check_levels(levels: tuple[int, int], level: int, peer: str) -> None:
    """Check that a manager `peer`, which knows levels from the oldest to the newest, can share a store.

    Raises:
        UnknownLevel: it cannot.

    """
    oldest, newest = levels
    if level > newest:
        raise UnknownLevel(
            f"{peer} supports store levels up to {newest}, and the store has level {level}: install the release "
            "that the other managers run"
        )
    if level < oldest:
        raise UnknownLevel(
            f"{peer} supports store levels from {oldest} on, and the store has level {level}: first install a release "
            "in between on all managers"
        )


def common_level(newest: Iterable[int | None]) -> int:
    """Return the newest level that all managers know, by what each has said (None: nothing)."""
    return min((OLDEST_LEVEL if each is None else each for each in newest), default=OLDEST_LEVEL)
