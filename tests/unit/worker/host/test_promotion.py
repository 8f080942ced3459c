"""How a worker has its host become a manager: the ticket goes where no other process sees it."""

import logging
from pathlib import Path

import pytest

from common.wire.manager_messages import BecomeManager
from worker.host import promotion
from worker.host.promotion import become_manager, join_command

MESSAGE = BecomeManager(ticket="SWMTKN-secret", addr="")


def test_the_ticket_is_not_in_the_command() -> None:
    command = join_command(MESSAGE, "10.0.0.1:2377")
    assert command[-4:] == ["--token", "-", "--", "10.0.0.1:2377"]
    assert not [each for each in command if MESSAGE.ticket in each]


def test_an_address_is_passed_on_where_there_is_one() -> None:
    command = join_command(BecomeManager(ticket="t", addr="10.0.0.5"), "m:1")
    assert command[command.index("--advertise-addr") + 1] == "10.0.0.5"


async def test_the_command_reads_the_ticket_from_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = tmp_path / "read"
    monkeypatch.setattr(promotion, "join_command", lambda *_: ["/bin/sh", "-c", f"cat > {read}"])
    await become_manager(MESSAGE, "m:1")
    assert read.read_text() == MESSAGE.ticket


async def test_why_it_failed_is_in_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(promotion, "join_command", lambda *_: ["/bin/sh", "-c", "echo the port is taken >&2; exit 1"])
    with caplog.at_level(logging.ERROR):
        await become_manager(MESSAGE, "m:1")
    assert "has not become a manager: 'the port is taken'" in caplog.text
