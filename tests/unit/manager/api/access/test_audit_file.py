"""The audit log's file."""

import asyncio
import json
import logging
import stat
from pathlib import Path

import pytest

from manager.api.access import audit_file
from manager.api.access.audit import Entry
from manager.api.access.audit_file import AuditFile


def entry(number: int) -> Entry:
    return Entry(time="t", name="alice", origin="unix", method="POST", path=f"/{number}", status=200)


async def written(file: AuditFile, entries: range) -> None:
    """Record, let it be written, and end."""
    task = asyncio.create_task(file.run())
    await asyncio.sleep(0)
    for number in entries:
        file.record(entry(number))
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def paths_in(*files: Path) -> list[str]:
    return [json.loads(line)["path"] for file in files for line in file.read_text().splitlines()]


async def test_lines_are_ordered_private_and_not_lost_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await written(AuditFile(path), range(500))
    await written(AuditFile(path), range(500, 600))
    assert paths_in(path) == [f"/{number}" for number in range(600)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text().splitlines()[0])["from"] == "unix"


async def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for start in range(0, 200, 10):
        await written(AuditFile(path, max_bytes=2000, kept=2), range(start, start + 10))
    files = [path.with_name("audit.log.2"), path.with_name("audit.log.1"), path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 2000 for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    kept = paths_in(*files)
    assert kept == [f"/{number}" for number in range(200 - len(kept), 200)]
    assert len(kept) > 40


async def test_what_cannot_be_written_is_said_loudly_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gone" / "audit.log"
    file = AuditFile(path)
    await written(file, range(2))
    assert "the audit log is not complete: cannot write" in caplog.text
    assert '"path":"/0"' in caplog.text
    assert '"path":"/1"' in caplog.text
    path.parent.mkdir()
    await written(file, range(2, 3))
    assert paths_in(path) == ["/2"]


async def test_a_link_in_its_place_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")
    await written(AuditFile(tmp_path / "audit.log"), range(1))
    assert not (tmp_path / "elsewhere").exists()
    assert '"path":"/0"' in caplog.text


async def test_a_disk_that_stands_still_costs_bounded_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "CAPACITY", 5)
    caplog.set_level(logging.ERROR)
    file = AuditFile(tmp_path / "audit.log")
    for number in range(7):  # nobody writes
        file.record(entry(number))
    assert caplog.text.count("audit: ") == 2
    await written(file, range(0))
    assert paths_in(tmp_path / "audit.log") == [f"/{number}" for number in range(5)]


async def test_the_newest_lines_are_read_first(tmp_path: Path) -> None:
    """Over the files that were moved aside, and past a line that is not whole."""
    audit = AuditFile(tmp_path / "audit.log", max_bytes=400, kept=3)
    for number in range(8):
        audit.record(
            Entry(time=f"2026-01-01T00:00:0{number}Z", name="a", origin="unix", method="POST", path="/x", status=200)
        )
        audit._write(audit._take())
    assert len([*tmp_path.iterdir()]) > 1
    with (tmp_path / "audit.log").open("ab") as file:
        file.write(b'{"time":"2026-01-01T00:00:09Z","na')
    assert [entry.time[18] for entry in audit.read("", 100, changes=False)][:5] == ["7", "6", "5", "4", "3"]
    assert [entry.time[18] for entry in audit.read("2026-01-01T00:00:05Z", 2, changes=False)] == ["4", "3"]
    assert AuditFile(tmp_path / "none.log").read("", 5, changes=False) == []


async def test_what_only_read_is_passed_over_on_request(tmp_path: Path) -> None:
    audit = AuditFile(tmp_path / "audit.log")
    asked = (("POST", 200), ("GET", 200), ("GET", 101), ("GET", 403), ("HEAD", 200), ("GET", 200))
    for number, (method, status) in enumerate(asked):
        time = f"2026-01-01T00:00:0{number}Z"
        audit.record(Entry(time=time, name="a", origin="unix", method=method, path="/x", status=status))
    audit._write(audit._take())
    found = [(entry.method, entry.status) for entry in audit.read("", 3, changes=True)]
    assert found == [("GET", 403), ("GET", 101), ("POST", 200)]
