"""Ctrl-C while a command changes the cluster: what is done and what is to do is said."""

import asyncio
import os
import signal
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from manager.cli import cli
from manager.cli.stack import commands as stack


def test_a_deploy_says_how_to_see_whether_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object) -> NoReturn:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(stack, "deploy_stack", interrupted)
    (tmp_path / "stack.yaml").write_text("services: {web: {image: web:1}}")
    result = CliRunner().invoke(cli, ["stack", "deploy", "-c", str(tmp_path / "stack.yaml"), "shop"])
    expected = "Stack shop is deployed as a whole or not at all: 'stack services shop' shows which."
    assert (result.exit_code, expected in result.stderr) == (130, True)
