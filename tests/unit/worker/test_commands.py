"""The commands of swarm-worker: what they print, and how they fail."""

import errno
import os

import pytest

from common.process.private_files import private_folder, write_private
from tests.unit.worker.test_main import run
from worker.config import DataDir, WorkerConfig
from worker.host import status_file
from worker.host.status_file import WorkerStatus

TOKEN = f"SWMTKN-1-{'a' * 50}-{'b' * 25}"


@pytest.fixture(autouse=True)
def _keep_core_dumps(monkeypatch):
    """Let `run` not give them up: that holds for the process, and so for each test that is to come in it."""
    monkeypatch.setattr("worker.commands.agent.keep_memory_off_disk", lambda: None)


@pytest.fixture
def data(tmp_path):
    data = DataDir(tmp_path / "worker")
    private_folder(data.path)
    data.save(WorkerConfig(node_id="n1", cluster_id="c1", managers=("10.0.0.1:2377", "10.0.0.2:2377")))
    return data


@pytest.mark.parametrize("name", ["status", "leave", "run", "start"])
def test_a_host_that_has_not_joined_is_told_so_in_one_line(name, tmp_path):
    said = run(name, "--data-dir", str(tmp_path))
    assert said.exit_code == 1
    assert said.stderr.startswith(f"Error: there is no worker in {tmp_path}: join a cluster with 'swarm-worker join")
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["status", "leave", "run", "start"])
def test_who_may_not_read_the_data_is_told_to_be_root(name, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may do all
    said = run(name, "--data-dir", str(tmp_path))
    expected = f"Error: permission denied: {tmp_path} is another user's: run this command as root, or with sudo\n"
    assert (said.exit_code, said.stderr) == (1, expected)


def test_joining_twice_is_refused(data):
    said = run("join", "--token", TOKEN, "--data-dir", str(data.path), "10.0.0.1")
    assert (said.exit_code, "has already joined cluster c1 as node n1" in said.stderr) == (1, True)


def test_a_worker_that_does_not_run(data):
    said = run("status", "--data-dir", str(data.path))
    assert said.exit_code == 1
    assert said.stdout.splitlines() == [
        "Node:         n1",
        "Cluster:      c1",
        f"Worker:       not running (log: {data.path}/daemon.log)",
    ]


def test_a_worker_that_runs(data):
    status = WorkerStatus(
        pid=os.getpid(),
        manager="10.0.0.1:2377",
        since=1_700_000_000.0,
        tasks=3,
        tasks_running=2,
        engine="26.1.5",
        certificate_until=1_800_000_000.0,
        lacks=("the command nft is not installed", "the kernel has no CPU quota"),
    )
    status_file.write(data.status, status)
    said = run("status", "--data-dir", str(data.path))
    assert said.exit_code == 0
    assert said.stdout.splitlines()[2:] == [
        f"Worker:       running as process {os.getpid()}",
        "Session:      with 10.0.0.1:2377, since 2023-11-14T22:13:20Z",
        "Engine:       Docker 26.1.5",
        "Tasks:        2 of 3 run",
        "Certificate:  until 2027-01-15T08:00:00Z",
        "Lacks:        the command nft is not installed",
        "Lacks:        the kernel has no CPU quota",
    ]


def test_a_worker_without_a_session_says_why(data):
    why = (
        "the worker speaks protocol 1, this manager protocol 2 (release 2.0): upgrade the worker's host to this release"
    )
    status_file.write(data.status, WorkerStatus(pid=os.getpid(), refused=why))
    said = run("status", "--data-dir", str(data.path)).stdout.splitlines()
    assert said[3:5] == ["Session:      none (known managers: 10.0.0.1:2377, 10.0.0.2:2377)", f"Reason:       {why}"]


def test_the_status_as_json(data):
    status_file.write(data.status, WorkerStatus(pid=os.getpid(), tasks=1))
    said = run("status", "--format", "json", "--data-dir", str(data.path))
    assert '"running": true' in said.stdout
    assert '"tasks": 1' in said.stdout


def test_old_figures_on_a_full_disk_say_how_old_they_are(data, monkeypatch):
    status_file.write(data.status, WorkerStatus(pid=os.getpid()))
    os.utime(data.status, (1_700_000_000, 1_700_000_000))
    assert "As of:" not in run("status", "--data-dir", str(data.path)).stdout

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("worker.host.status_file.tempfile.TemporaryFile", full)
    why = f"{data.path} cannot be written: No space left on device"
    said = run("status", "--data-dir", str(data.path)).stdout.splitlines()
    assert said[3] == f"As of:        2023-11-14T22:13:20Z: what follows may have changed since, as {why}"
    said = run("status", "--format", "json", "--data-dir", str(data.path)).stdout
    assert '"written_at": 1700000000.0' in said
    assert '"obstacle": "No space left on device"' in said
    data.status.unlink()
    said = run("status", "--data-dir", str(data.path)).stdout.splitlines()
    assert said[2] == f"Worker:       not running, or {why} (log: {data.path}/daemon.log)"


def test_a_second_worker_on_one_directory_is_refused(data):
    status_file.write(data.status, WorkerStatus(pid=os.getpid()))
    said = run("run", "--data-dir", str(data.path))
    assert (said.exit_code, "stop it first" in said.stderr) == (1, True)


def test_starting_a_worker_that_runs_leaves_it_alone(data):
    status_file.write(data.status, WorkerStatus(pid=os.getpid(), manager="10.0.0.1:2377"))
    said = run("start", "--data-dir", str(data.path))
    assert (said.exit_code, said.output) == (0, "")
    assert not (data.path / "daemon.pid").exists()


def test_a_worker_that_does_not_start_says_why_and_keeps_data(data):
    said = run("start", "--data-dir", str(data.path))
    assert said.exit_code == 1
    assert said.stderr.startswith("Error: swarm-worker ended while starting: Error: ")
    assert str(data.credentials.directory) in said.stderr
    assert data.load().node_id == "n1"
    assert not (data.path / "daemon.pid").exists()


def test_a_damaged_configuration_is_one_line(data):
    write_private(data.config, b"{")
    said = run("status", "--data-dir", str(data.path))
    assert said.exit_code == 1
    assert said.stderr.startswith(f"Error: cannot read {data.config}")
