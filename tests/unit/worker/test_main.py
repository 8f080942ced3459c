import os

import click
import pytest
from click.testing import CliRunner

from common.process.private_files import private_folder, write_private
from worker.config import DataDir, WorkerConfig
from worker.host import status_file
from worker.host.status_file import WorkerStatus
from worker.main import main

TOKEN = f"SWMTKN-1-{'a' * 50}-{'b' * 25}"


def run(*argv):
    return CliRunner().invoke(main, argv, prog_name="swarm-worker")


@pytest.fixture
def data(tmp_path):
    data = DataDir(tmp_path / "worker")
    private_folder(data.path)
    data.save(WorkerConfig(node_id="n1", cluster_id="c1", managers=("10.0.0.1:2377", "10.0.0.2:2377")))
    return data


@pytest.mark.parametrize("name", [None, *main.commands])
def test_every_help_has_an_example(name):
    shown = run(*filter(None, [name]), "--help")
    assert shown.exit_code == 0
    examples = shown.stdout.partition("Examples:")[2].strip().splitlines()
    assert examples
    assert all(line.strip().startswith(f"swarm-worker {name or 'join'}") for line in examples)


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


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["bogus"], 1, "No such command 'bogus'.\nSee 'swarm-worker --help'.\n"),
        (["--bogus"], 125, "unknown flag: --bogus\nSee 'swarm-worker --help'.\n"),
        (["join", "--bogus"], 125, "unknown flag: --bogus\nSee 'swarm-worker join --help'.\n"),
        (["join"], 1, '"swarm-worker join" requires exactly 1 argument.\nSee '),
        (
            ["join", "--image-port", "x", "10.0.0.1"],
            125,
            "invalid argument for \"--image-port\" flag: 'x' is not a whole number\nSee 'swarm-worker join --help'.\n",
        ),
        ([], 0, "Usage: swarm-worker [OPTIONS] COMMAND [ARGS]..."),
    ],
)
def test_a_wrong_command_line_ends_as_with_docker(words, code, message):
    said = run(*words)
    assert (said.exit_code, said.stderr[: len(message)]) == (code, message)


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    assert "_SWARM_WORKER_COMPLETE" in run("completion", shell).stdout


def test_options_have_help():
    command = main.commands["join"]
    assert isinstance(command, click.Command)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_a_damaged_configuration_is_one_line(data):
    write_private(data.config, b"{")
    said = run("status", "--data-dir", str(data.path))
    assert said.exit_code == 1
    assert said.stderr.startswith(f"Error: cannot read {data.config}")
