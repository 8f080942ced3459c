"""What is said of a tool that fails."""

import pytest

from common.errors import Unavailable
from worker.host import command

BANNER = """\
┌──────────────────────────────────────────────────────┐
│                                                      │
│   Running wireguard-go is not required because this  │
└──────────────────────────────────────────────────────┘
"""
WRONG = "ERROR: (orc-wg0) 2026/01/02 03:04:05 UAPI listen error: unix socket in use"


@pytest.mark.parametrize(
    ("errors", "output", "said"),
    [
        (BANNER, f"DEBUG: starting\n{WRONG}\n", WRONG),
        (f"{BANNER}{WRONG}\n", "", WRONG),
        ("RTNETLINK answers: File exists\nmore\n", "an error of before", "RTNETLINK answers: File exists"),
        ("/dev/stdin:3:1-2: Error: syntax error\nfoo bar\n^^^\n", "", "/dev/stdin:3:1-2: Error: syntax error"),
        (BANNER, "", "exit status 3"),
        ("", "", "exit status 3"),
    ],
)
async def test_the_line_that_says_what_is_wrong_is_told(errors: str, output: str, said: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await command.must("sh", "-c", 'printf "%s" "$1"; cat >&2; exit 3', "sh", output, stdin=errors)
    assert caught.value.message == f"sh failed: {said}"


# --- what systemd says of the host, in the words of a `systemctl` of the test's own ---


async def shutting_down(tmp_path, monkeypatch, script):
    monkeypatch.setattr("worker.host.command.SYSTEMD_MARK", tmp_path)
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return await command.host_is_shutting_down()


async def test_only_a_host_that_stops_is_shutting_down(tmp_path, monkeypatch):
    asked = 'test "$1" = is-system-running || exit 9; '
    assert await shutting_down(tmp_path, monkeypatch, asked + "echo stopping; exit 1")
    assert not await shutting_down(tmp_path, monkeypatch, asked + "echo running")
    assert not await shutting_down(tmp_path, monkeypatch, asked + "echo degraded; exit 1")


async def test_a_systemd_that_gives_no_answer_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.host.command.SYSTEMD_SECONDS", 0.05)
    assert not await shutting_down(tmp_path, monkeypatch, "exec sleep 60")


async def test_a_host_without_systemd_is_taken_to_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.host.command.SYSTEMD_MARK", tmp_path / "none")
    assert not await command.host_is_shutting_down()
