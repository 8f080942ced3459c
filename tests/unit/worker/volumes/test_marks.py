"""Marks beside volumes' data, on a real file system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worker.interfaces.engine import EngineVolume
from worker.interfaces.volumes import Mark
from worker.volumes.marks import MARK_FILE, HostMarks

MARK = Mark("d" * 32, 3)


def volume(path: Path, **more: Any) -> EngineVolume:
    (path / "data" / "_data").mkdir(parents=True, exist_ok=True)
    return EngineVolume(name="data", mountpoint=str(path / "data" / "_data"), **more)


async def test_a_mark_is_read_as_it_was_written(tmp_path: Path) -> None:
    marks, data = HostMarks(), volume(tmp_path)
    assert await marks.read(data) is None
    assert await marks.write(data, MARK)
    assert await marks.read(data) == MARK
    assert [each.name for each in (tmp_path / "data").iterdir()] in (["_data", MARK_FILE], [MARK_FILE, "_data"])
    assert not list((tmp_path / "data" / "_data").iterdir())


async def test_plugins_volumes_have_none(tmp_path: Path) -> None:
    for each in (
        volume(tmp_path, driver="vieux/sshfs"),
        EngineVolume(name="x"),
        EngineVolume(name="x", mountpoint="/"),
    ):
        assert not await HostMarks().write(each, MARK)
        assert await HostMarks().read(each) is None


async def test_a_mark_that_is_damaged_is_none(tmp_path: Path) -> None:
    data = volume(tmp_path)
    for content in (b"", b"{}", b"\xff", b'{"lineage": 5, "generation": 1}'):
        (tmp_path / "data" / MARK_FILE).write_bytes(content)
        assert await HostMarks().read(data) is None


async def test_where_nothing_can_be_written_there_is_no_mark(tmp_path: Path) -> None:
    gone = EngineVolume(name="data", mountpoint=str(tmp_path / "none" / "_data"))
    assert not await HostMarks().write(gone, MARK)
