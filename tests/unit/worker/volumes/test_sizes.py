"""What volumes take of a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.volumes.sizes import UNKNOWN, allocated, is_news

MIB = 1 << 20


async def test_a_folder_is_measured_by_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3 * MIB)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert 3 * MIB <= await allocated(tmp_path) < 4 * MIB


async def test_what_is_not_there_has_no_size(tmp_path: Path) -> None:
    assert await allocated(tmp_path / "none") == UNKNOWN


@pytest.mark.parametrize(
    ("size", "before", "news"),
    [
        (5, UNKNOWN, True),
        (UNKNOWN, UNKNOWN, False),
        (UNKNOWN, 5, True),
        (MIB, 0, False),
        (2 * MIB, 0, True),
        (1010 * MIB, 1000 * MIB, False),
        (1030 * MIB, 1000 * MIB, True),
    ],
)
def test_little_more_or_less_is_no_news(size: int, before: int, *, news: bool) -> None:
    assert is_news(size, before) is news
