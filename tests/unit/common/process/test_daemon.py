"""Detached daemons: ready when they say so, stopped to their end, and quoted when they fail; notices to systemd."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import Unavailable
from common.process.daemon import OPEN_FILES, Daemon, Notifier

_PROGRAM = """
import signal, sys
from common.process.daemon import Notifier
mode = open(sys.argv[3] + "/mode").read()
if mode == "fail":
    sys.exit("the disk is upside down")
if mode == "ready":
    Notifier.from_environment().ready()
signal.sigwait([signal.SIGTERM])
"""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    (tmp_path / "lab_daemon.py").write_text(_PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    made = Daemon(module="lab_daemon", unit="lab-daemon", home=Path("/nowhere"), data_dir=tmp_path)
    yield made
    made.stop()


def set_mode(daemon: Daemon, mode: str) -> None:
    (daemon.data_dir / "mode").write_text(mode)


def test_start_returns_when_ready_and_stop_when_ended(daemon: Daemon) -> None:
    set_mode(daemon, "ready")
    daemon.start(timeout=20)
    pid = daemon.pid()
    assert pid is not None
    assert stat.S_IMODE(daemon.log_file.stat().st_mode) == 0o600
    daemon.stop()
    assert daemon.pid() is None
    assert not daemon.pid_file.exists()


def test_the_last_line_of_its_log_is_in_the_error(daemon: Daemon) -> None:
    set_mode(daemon, "fail")
    with pytest.raises(Unavailable, match=r"ended while starting: the disk is upside down .*daemon\.log"):
        daemon.start(timeout=20)
    assert not daemon.pid_file.exists()


def test_one_that_never_is_ready_is_stopped(daemon: Daemon) -> None:
    set_mode(daemon, "silent")
    with pytest.raises(Unavailable, match="was not ready within"):
        daemon.start(timeout=0.2)
    assert daemon.pid() is None


def test_a_pid_file_that_names_another_program_is_not_ours(daemon: Daemon) -> None:
    daemon.pid_file.write_text(f"{os.getpid()}\n")
    assert daemon.pid() is None
    daemon.stop()


def test_it_may_have_as_many_files_as_the_machine_allows(daemon: Daemon) -> None:
    """A shell's own limit, 1024 mostly, is too few for a worker with many published ports."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    set_mode(daemon, "ready")
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        daemon.start(timeout=20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pid = daemon.pid()
    assert pid is not None
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == min(hard, OPEN_FILES)


@pytest.fixture
def received(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(1)
        yield server


def environment(received, **more):
    return {"NOTIFY_SOCKET": received.getsockname(), **more}


def test_ready_carries_the_status(received):
    Notifier.from_environment(environment(received)).ready("3 tasks")
    assert received.recv(200) == b"READY=1\nSTATUS=3 tasks"


def test_stopping_and_status(received):
    notifier = Notifier.from_environment(environment(received))
    notifier.status("x")
    notifier.stopping()
    assert [received.recv(200), received.recv(200)] == [b"STATUS=x", b"STOPPING=1"]


def test_without_systemd_nothing_happens():
    notifier = Notifier.from_environment({})
    notifier.ready()
    assert notifier.watchdog == 0


def test_the_watchdog_of_another_process_is_not_ours():
    assert Notifier.from_environment({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog == 0
    assert Notifier.from_environment({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}).watchdog == 3


async def test_keep_alive_pings_within_the_period(received):
    notifier = Notifier.from_environment(environment(received, WATCHDOG_USEC="40000"))
    pinger = asyncio.create_task(notifier.keep_alive())
    pings = [await asyncio.to_thread(received.recv, 200) for _ in range(3)]
    pinger.cancel()
    assert pings == [b"WATCHDOG=1"] * 3


def test_an_abstract_socket(received):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0swarm-test-{os.getpid()}")
        Notifier(f"@swarm-test-{os.getpid()}").stopping()
        assert server.recv(100) == b"STOPPING=1"


def test_a_listener_that_has_gone_is_no_error(tmp_path):
    Notifier(str(tmp_path / "gone")).ready()
    Notifier("@swarm-test-nobody-listens").stopping()


_SYSTEMCTL = """#!/bin/sh
[ "$1" = is-enabled ] && exit 1
[ "$1" = enable ] && echo "Created symlink /etc/systemd/system/lab-daemon.service" >&2
case "$*" in start* | "enable --now"*) echo "Job for lab-daemon.service failed" >&2; exit 1 ;; esac
"""


def test_a_unit_that_fails_is_told_with_systemds_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(_SYSTEMCTL)
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("common.process.daemon.SYSTEMD_MARK", tmp_path)
    unit = Daemon(module="lab_daemon", unit="lab-daemon", home=tmp_path, data_dir=tmp_path)
    with pytest.raises(Unavailable) as refused:
        unit.start(timeout=20)
    reason = "systemctl start lab-daemon failed: Job for lab-daemon.service failed"
    assert refused.value.message == f"{reason}: see journalctl -u lab-daemon"
