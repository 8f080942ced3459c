"""What systemd says of the host, in the words of a `systemctl` of our own."""

from worker.host import leave


async def going_down(tmp_path, monkeypatch, script):
    monkeypatch.setattr("worker.host.leave.SYSTEMD_MARK", tmp_path)
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return await leave.is_going_down()


async def test_only_a_host_that_stops_is_going_down(tmp_path, monkeypatch):
    asked = 'test "$1" = is-system-running || exit 9; '
    assert await going_down(tmp_path, monkeypatch, asked + "echo stopping; exit 1")
    assert not await going_down(tmp_path, monkeypatch, asked + "echo running")
    assert not await going_down(tmp_path, monkeypatch, asked + "echo degraded; exit 1")


async def test_a_systemd_that_gives_no_answer_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.host.leave.PATIENCE_SECONDS", 0.05)
    assert not await going_down(tmp_path, monkeypatch, "exec sleep 60")


async def test_a_host_without_systemd_is_taken_to_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.host.leave.SYSTEMD_MARK", tmp_path / "none")
    assert not await leave.is_going_down()
