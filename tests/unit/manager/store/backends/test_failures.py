"""What goes wrong with a store's file is told with what to do."""

import sqlite3
from pathlib import Path

import pytest

from common.errors import Unavailable
from common.process.private_files import IN_USE
from manager.store.backends.failures import explaining

PATH = Path("/data/store.db")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("database or disk is full", "free some space"),
        ("database is locked", IN_USE),
        ("file is not a database", "restore a backup"),
        ("something new", "look at the disk"),
    ],
)
def test_each_failure_of_sqlite_has_a_hint(words: str, hint: str) -> None:
    with pytest.raises(Unavailable) as raised, explaining(PATH):
        raise sqlite3.OperationalError(words)
    assert raised.value.message.startswith(f"the store {PATH} failed: {words}: ")
    assert hint in raised.value.message


def test_a_failure_of_the_system_names_the_file() -> None:
    with pytest.raises(Unavailable, match=r"failed: Permission denied \(/data/x\)"), explaining(PATH):
        raise PermissionError(13, "Permission denied", "/data/x")


def test_all_else_is_a_bug_and_stays_one() -> None:
    with pytest.raises(KeyError), explaining(PATH):
        raise KeyError("x")
