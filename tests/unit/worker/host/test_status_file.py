"""The status of the running worker: of no other process, and never half of one."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from worker.host import status_file
from worker.host.status_file import WorkerStatus, process_mark


def test_what_a_running_worker_wrote_is_read(tmp_path: Path) -> None:
    status = WorkerStatus(pid=os.getpid(), process=process_mark(os.getpid()), manager="h:2377", tasks=3)
    status_file.write(tmp_path / "status", status)
    assert status_file.read(tmp_path / "status") == status
    assert stat.S_IMODE((tmp_path / "status").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["status"]


def test_what_a_process_wrote_that_has_ended_is_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        mark = process_mark(process.pid)
        assert mark
        assert mark != process_mark(os.getpid())
        status_file.write(tmp_path / "status", WorkerStatus(pid=process.pid, process=mark))
        assert status_file.read(tmp_path / "status") is not None
        process.communicate(b"\n")
    assert status_file.read(tmp_path / "status") is None


def test_another_process_of_the_same_number_is_not_taken_for_it(tmp_path: Path) -> None:
    status_file.write(tmp_path / "status", WorkerStatus(pid=os.getpid(), process="another boot"))
    assert status_file.read(tmp_path / "status") is None


def test_without_a_mark_the_number_alone_counts() -> None:
    assert WorkerStatus(pid=os.getpid()).alive
    assert not WorkerStatus(pid=2**22 + 1).alive  # above the kernel's largest


def test_no_file_and_a_broken_one_are_no_worker(tmp_path: Path) -> None:
    assert status_file.read(tmp_path / "none") is None
    (tmp_path / "status").write_text("{")
    assert status_file.read(tmp_path / "status") is None


def test_a_status_that_cannot_be_written_has_an_obstacle(tmp_path: Path) -> None:
    assert status_file.obstacle(tmp_path / "status") == ""
    assert status_file.obstacle(tmp_path / "gone" / "status") == "No such file or directory"
    assert list(tmp_path.iterdir()) == []


def test_without_a_status_none_was_written(tmp_path: Path) -> None:
    assert status_file.written_at(tmp_path / "status") == 0.0
    status_file.write(tmp_path / "status", WorkerStatus(pid=os.getpid()))
    assert status_file.written_at(tmp_path / "status") > 0.0
