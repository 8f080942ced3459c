import errno
import os
import stat

import pytest

from common.errors import FailedPrecondition, InvalidArgument, Unavailable
from common.process.private_files import private_folder
from worker.config import DataDir, WorkerConfig, is_manager_address, parse_address
from worker.host import status_file
from worker.host.status_file import WorkerStatus

CONFIG = WorkerConfig(node_id="n", cluster_id="c", managers=("10.0.0.1:2377",))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", ("10.0.0.1", 2377)),
        ("manager.example:99", ("manager.example", 99)),
        ("[fd00::1]:5", ("fd00::1", 5)),
        ("[fd00::1]", ("fd00::1", 2377)),
        ("fd00::1", ("fd00::1", 2377)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", ":2377", "host:", "host:x", "host:0", "host:70000", "[]:1", "a b:1", "a\0:1", "a/b:1", "h:" + "1" * 5000],
)
def test_what_is_no_address(text):
    with pytest.raises(InvalidArgument, match="is not the address of a manager"):
        parse_address(text)


def test_what_a_manager_says_of_managers_is_checked_too():
    said = ["10.0.0.1:2377", "manager.example", "x\n", "[fd00::1]:2377", "a b:1", "10.0.0.2:0"]
    assert list(filter(is_manager_address, said)) == ["10.0.0.1:2377", "manager.example", "[fd00::1]:2377"]


def test_a_configuration_comes_back_and_is_private(tmp_path):
    data = DataDir(tmp_path / "w")
    assert not data.joined
    private_folder(data.path)
    data.save(CONFIG)
    assert data.joined
    assert data.load() == CONFIG
    assert stat.S_IMODE(data.config.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.path.stat().st_mode) == 0o700


def test_a_host_that_has_not_joined_is_told_how(tmp_path):
    with pytest.raises(FailedPrecondition, match="swarm-worker join --token"):
        DataDir(tmp_path).load()


def test_a_damaged_configuration(tmp_path):
    data = DataDir(tmp_path)
    data.config.write_text("{")
    with pytest.raises(Unavailable, match="cannot read"):
        data.load()


def test_wiping_removes_ours_and_nothing_else(tmp_path):
    data = DataDir(tmp_path / "w")
    private_folder(data.path)
    data.save(CONFIG)
    data.credentials.write(b"c", b"k", b"r")
    for name in ("state.db", "state.db-wal", "status.json", "daemon.log", "daemon.pid"):
        (data.path / name).write_text("x")
    private_folder(data.copies)
    (data.copies / "index").write_text("x")
    (data.path / "mine").write_text("x")
    data.wipe()
    assert [entry.name for entry in data.path.iterdir()] == ["mine"]
    (data.path / "mine").unlink()
    data.wipe()
    assert not data.path.exists()


def test_an_unwritable_directory_is_reported_and_not_left_behind(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("worker.config.tempfile.TemporaryFile", refuse)
    data = DataDir(tmp_path / "worker")
    private_folder(data.path)
    with pytest.raises(Unavailable, match=f"cannot write to the data directory {data.path}: Read-only file system"):
        data.check_writable()
    assert not data.path.exists()


def test_a_status_counts_while_its_process_lives(tmp_path):
    path = tmp_path / "status.json"
    assert status_file.read(path) is None
    status_file.write(path, WorkerStatus(pid=os.getpid(), manager="m", tasks=2))
    assert status_file.read(path).tasks == 2
    mark = status_file.process_mark(os.getpid())
    status_file.write(path, WorkerStatus(pid=os.getpid(), process=mark, tasks=3))
    assert status_file.read(path).tasks == 3
    boot, _, rest = mark.partition("/")
    for other in (f"another-boot/{rest}", f"{boot}/{os.getpid()}/1"):
        status_file.write(path, WorkerStatus(pid=os.getpid(), process=other))
        assert status_file.read(path) is None, "another process has its number now"
    status_file.write(path, WorkerStatus(pid=2**22 + 1))
    assert status_file.read(path) is None
