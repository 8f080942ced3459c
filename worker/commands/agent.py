"""`swarm-worker run`: the agent in the foreground."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import click

from common.process import logs
from common.process.memory import keep_memory_off_disk
from common.process.usage import as_epilog
from worker import app
from worker.commands.options import DATA_DIR, LOG_LEVEL, plain_errors
from worker.config import DataDir
from worker.host import background


@click.command("run", epilog=as_epilog("swarm-worker run --data-dir /var/lib/swarm-worker"))
@DATA_DIR
@LOG_LEVEL
@plain_errors
def run_command(data_dir: Path, log_level: str) -> None:
    """Run the worker in the foreground: what its systemd unit does.

    Stopping it stops no container.
    """
    run_agent(DataDir(data_dir), log_level)


def run_agent(data: DataDir, log_level: str, welcomed: Callable[[], None] = lambda: None) -> None:
    """Run the agent to its end, as `app.run` does."""
    logs.setup(log_level)
    keep_memory_off_disk()
    background.check_not_running(data)
    asyncio.run(app.run(data, welcomed))
