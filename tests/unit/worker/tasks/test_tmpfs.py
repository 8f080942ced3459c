"""Files of tasks where a tmpfs is there already; mounting one is tested in tests/e2e/test_worker_engine.py."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from common.errors import FailedPrecondition, InvalidArgument
from worker.interfaces.files import TaskFile
from worker.tasks import tmpfs
from worker.tasks.tmpfs import TmpfsFiles, in_memory

SHM = Path("/dev/shm")
pytestmark = pytest.mark.skipif(not in_memory(SHM), reason="no tmpfs at /dev/shm")


@pytest.fixture
def root():
    folder = Path(tempfile.mkdtemp(dir=SHM))
    yield folder / "files"
    shutil.rmtree(folder)


def test_what_is_in_memory_is_told_from_disk():
    assert in_memory(SHM)
    assert not in_memory(Path("/etc"))


def test_a_mount_with_a_name_in_no_known_encoding_is_no_trouble(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(b"1 1 0:1 / / rw - ext4 /dev/x rw\n2 1 0:2 / /mnt/caf\xe9 rw - tmpfs t rw\n")
    assert not in_memory(Path("/etc"), mounts)


def test_a_folder_that_cannot_be_made_is_said_of_the_task(tmp_path):
    (tmp_path / "files").write_text("")
    with pytest.raises(
        FailedPrecondition, match=r"cannot write the task's secrets and configs to .*files/t1: Not a directory"
    ):
        TmpfsFiles(tmp_path / "files").write("t1", [TaskFile(target="/a", data=b"x")])


def test_files_have_their_owner_and_mode_in_a_private_folder(root):
    files = TmpfsFiles(root)
    owner = {"uid": os.geteuid(), "gid": os.getegid()}
    paths = files.write(
        "t1",
        [
            TaskFile(target="/run/secrets/a", data=b"one", mode=0o400, **owner),
            TaskFile(target="/b", data=b"", **owner),
        ],
    )
    assert list(paths) == ["/run/secrets/a", "/b"]
    first, second = (Path(path) for path in paths.values())
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"")
    assert (first.stat().st_mode & 0o777, second.stat().st_mode & 0o777) == (0o400, 0o444)
    assert (root / "t1").stat().st_mode & 0o777 == 0o700
    assert list(files.tasks()) == ["t1"]


@pytest.mark.parametrize("task_id", ["..", "../x", "/etc", "a/b", "", "."])
def test_no_task_has_files_elsewhere(root, task_id):
    files = TmpfsFiles(root)
    for call in (lambda: files.write(task_id, ()), lambda: files.remove(task_id)):
        with pytest.raises(InvalidArgument, match="is not an id"):
            call()
    assert not root.exists()


def test_what_others_left_beside_tasks_folders_is_no_tasks(root):
    files = TmpfsFiles(root)
    files.write("t1", ())
    (root / "lost+found").mkdir()
    assert list(files.tasks()) == ["t1"]


def test_writing_again_replaces(root):
    files = TmpfsFiles(root)
    file = TaskFile(target="/a", data=b"old and long", uid=os.geteuid(), gid=os.getegid())
    files.write("t1", [file])
    (path,) = files.write("t1", [TaskFile(target="/a", data=b"new", uid=file.uid, gid=file.gid)]).values()
    assert Path(path).read_bytes() == b"new"


def test_removing_leaves_nothing_and_may_be_repeated(root):
    files = TmpfsFiles(root)
    files.write("t1", [TaskFile(target="/a", data=b"x", uid=os.geteuid(), gid=os.getegid())])
    for _ in range(2):
        files.remove("t1")
    assert list(files.tasks()) == []
    assert list(TmpfsFiles(root / "never").tasks()) == []


def test_a_worker_that_may_not_mount_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(tmpfs, "_mount_tmpfs", refuse)
    monkeypatch.setattr(tmpfs, "in_memory", lambda _: False)
    with pytest.raises(FailedPrecondition, match=r"need a tmpfs.*Operation not permitted; run the worker as root"):
        TmpfsFiles(tmp_path).write("t1", [TaskFile(target="/a", data=b"x")])
    assert list(tmp_path.iterdir()) == []
